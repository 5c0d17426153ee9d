/**
 * What an expression may be and cost.
 * @module
 */

/** Of the source, in UTF-16 units. */
export const MAX_SOURCE_UNITS = 10_000
export const MAX_TOKENS = 2_000
/** Brackets within brackets. */
export const MAX_NESTING = 64
/** Parts after parsing: `?:` and `??` copy what stands before them, so nested ones multiply. */
export const MAX_NODES = 10_000
/** Of processor time, for one evaluation in the sandbox. */
export const EVALUATION_LIMIT_MILLIS = 50
/** Of a result and of an input, as JSON, in UTF-16 units. */
export const MAX_RESULT_UNITS = 262_144
export const MAX_INPUT_UNITS = 1_048_576
/**
 * Of an evaluation in process: units of text read or written, and items of lists visited. Some ten milliseconds at most, which
 * no everyday expression on a device's metrics comes near.
 */
export const EVERYDAY_WORK = 4_000_000
