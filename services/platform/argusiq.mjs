#!/usr/bin/env node
import { run } from "../../scripts/run.mjs"
import { nodeEnvironment, nodeFlags } from "./nodeFlags.mjs"

run("services/platform/main.ts", process.argv.slice(2), nodeFlags, nodeEnvironment)
