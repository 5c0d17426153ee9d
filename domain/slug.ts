/**
 * Short names for addresses.
 * @module
 */

const MOST_UNITS = 40

/** Lower-case letters, digits and single hyphens, made of a name; `id` tells it apart from others of that name. */
export const slugOf = (name: string, id: string): string => {
  const words = name
    .normalize("NFKD")
    .replaceAll(/\p{M}/gu, "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, MOST_UNITS)
    .replaceAll(/^-+|-+$/g, "")
  return `${words === "" ? "organization" : words}-${id.slice(-6)}`
}
