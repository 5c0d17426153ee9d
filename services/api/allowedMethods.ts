/**
 * Which methods an address knows, for one that was asked with another.
 * @module
 */
import { IngestApi } from "@argusiq/domain/http/ingest.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { HttpApi } from "effect/http-api"

interface Route {
  readonly method: string
  readonly segments: ReadonlyArray<string>
}

const segmentsOf = (url: string) => url.replace(/[?#].*$/s, "").split("/")

const routes: Array<Route> = []
const collector: Parameters<typeof HttpApi.reflect>[1] = {
  onGroup: () => {},
  onEndpoint: ({ endpoint }) => {
    // The router ignores a slash at the end, as in the path of a list.
    routes.push({ method: endpoint.method, segments: segmentsOf(endpoint.path.replace(/(?<=.)\/$/, "")) })
  }
}
HttpApi.reflect(RestApi, collector)
HttpApi.reflect(IngestApi, collector)

/** As they stand in the header Allow; empty where there is no such address. HEAD goes with GET. */
export const allowedMethods = (url: string): ReadonlyArray<string> => {
  const asked = segmentsOf(url)
  const methods = routes
    .filter(
      ({ segments }) =>
        segments.length === asked.length &&
        segments.every((segment, index) => (segment.startsWith(":") ? asked[index] !== "" : segment === asked[index]))
    )
    .flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method]))
  return [...new Set(methods)].toSorted()
}
