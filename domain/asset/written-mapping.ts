/**
 * The mapping of a link as people write it.
 * @module
 */

const ofDevice = /^device\.(.+)$/s
const ofAsset = /^asset\.(.+)$/s

/** Asset metric → path in the device's metrics. `device.x: asset.y`, `asset.y: device.x` and `y: x` are the same. */
export const readMapping = (written: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(written).map(([left, right]) => {
      const [device, asset] = [ofDevice.exec(left)?.[1], ofAsset.exec(right)?.[1]]
      if (device !== undefined && asset !== undefined) return [asset, device]
      const [target, source] = [ofAsset.exec(left)?.[1], ofDevice.exec(right)?.[1]]
      return target !== undefined && source !== undefined ? [target, source] : [left, right]
    })
  )
