/**
 * How Node runs a platform. What it is told of V8's heap is measured in docs/decisions/0009-collecting-by-the-heap.md.
 * @module
 */
import { availableParallelism } from "node:os"

/** Threads that collect garbage beside the one that runs JavaScript, which waits for them: those that have a core to run on. */
const helpers = Math.min(4, Math.max(1, availableParallelism() - 1))

export const nodeFlags = [
  // Lets the objects of a batch die before they are copied.
  "--max-semi-space-size=48",
  // Without it the heap is marked whenever 64 MB of buffers have come: every three seconds, however little it has grown.
  "--external-memory-accounted-in-global-limit",
  // How far it grows beyond what lives in it, before it is marked.
  "--heap-growing-percent=220",
  `--v8-pool-size=${helpers}`
]

/**
 * For glibc's allocator, ignored elsewhere. Left to itself it keeps what large buffers have left behind: after an outage,
 * 470 MB of memory that nothing used any more, against 80 MB with large buffers given back one by one.
 */
export const nodeEnvironment = {
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: "262144",
  MALLOC_TRIM_THRESHOLD_: "262144"
}
