/**
 * Ids of what people create: UUIDv7, so that they sort by when they were made.
 * @module
 */
import { randomBytes } from "node:crypto"
import { uuidV7 } from "@argusiq/domain/uuid.ts"

export const newId = (): string => uuidV7(Date.now() * 1_000, randomBytes(10))
