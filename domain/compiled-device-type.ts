/**
 * A device type's configuration, compiled once when it is loaded so that a message costs property reads and arithmetic.
 * @module
 */
import type { DeviceTypeConfig } from "./device-type.ts"

export interface CompiledDeviceType {
  readonly config: DeviceTypeConfig
}
