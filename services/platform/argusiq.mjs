#!/usr/bin/env node
import { run } from "../../scripts/run.mjs"

run("services/platform/main.ts", process.argv.slice(2))
