/**
 * Which addresses belong to the public Internet: all others may lead into somebody's own network.
 * Sources: the special-purpose registries of IANA (RFC 6890 and its successors).
 * @module
 */
import { BlockList, isIPv4, isIPv6 } from "node:net"

const special = new BlockList()
for (const [network, prefix] of [
  ["0.0.0.0", 8], // this network
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // shared by providers
  ["127.0.0.0", 8], // loopback
  ["169.254.0.0", 16], // link-local, and the metadata of clouds
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24],
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarks
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4] // reserved, and broadcast
] as const)
  special.addSubnet(network, prefix, "ipv4")

/** Of IPv6 only this is given out; what lies in it and is not public follows. */
const global = new BlockList()
global.addSubnet("2000::", 3, "ipv6")
for (const [network, prefix] of [
  ["2001::", 23], // Teredo and other protocols
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4: an IPv4 address, whichever
  ["3fff::", 20] // documentation
] as const)
  special.addSubnet(network, prefix, "ipv6")

/** An address in text. IPv4 addresses in IPv6 notation, and anything that is no address, are not public. */
export const isPublicAddress = (address: string): boolean => {
  if (isIPv4(address)) return !special.check(address, "ipv4")
  return isIPv6(address) && global.check(address, "ipv6") && !special.check(address, "ipv6")
}
