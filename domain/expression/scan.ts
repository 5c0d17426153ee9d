/**
 * A first look at the source of an expression, in one pass: whether it is small enough to be given to the parser at all, whose
 * time and memory grow with the power of its nesting (`?:` and `??` copy what stands before them).
 *
 * Regular expressions are taken out here, since the parser would compile them in this process: it sees a text of the same length
 * in their place. So the pass has to know, as the parser's tokenizer does, where a `/` divides and where it begins a regular
 * expression: the tokenizer takes it for the latter after an infix operator or a separator only. The few places where the two could
 * disagree are no valid expressions, and refused.
 * @module
 */
import { Result } from "effect"
import { type ExpressionFault } from "./expression.ts"
import { MAX_NESTING, MAX_NODES, MAX_SOURCE_UNITS, MAX_TOKENS } from "./limits.ts"

export interface Scanned {
  /** The source with a text in place of each regular expression. */
  readonly parsable: string
  /** Where the tokens that are regular expressions end. */
  readonly regexes: ReadonlySet<number>
  /** Where the token begins that ends at a position: the parser names tokens by their ends. */
  readonly startOf: (end: number) => number
}

const whitespace = " \t\n\r\v"
const single = new Set(".[]{}(),@#;:?+-*/%|=<>^&!~")
const double = new Set(["..", ":=", "!=", ">=", "<=", "**", "~>", "?:", "??"])
const infix = new Set(". + - * / % = < > != <= >= & ~> ?? ?: := ^ @ # ? and or in".split(" "))
const separators = new Set([",", ";", ":", ".."])
const closing: Readonly<Record<string, string>> = { ")": "(", "]": "[", "}": "{" }
const number = /(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[Ee][-+]?[0-9]+)?/y

interface Group {
  readonly open: string
  readonly at: number
  readonly kind: "list" | "call" | "parameters" | "order" | "filter"
  done: number // parts that no later operator of the group can copy
  parts: number // those of the operand that is being read
}

class Fault {
  readonly position: number
  readonly message: string
  constructor(position: number, message: string) {
    this.position = position
    this.message = message
  }
}

class Scan {
  readonly source: string
  readonly starts = new Map<number, number>()
  readonly regexes = new Set<number>()
  readonly groups: Array<Group> = []
  group: Group = { open: "", at: 0, kind: "list", done: 0, parts: 0 }
  parsable = ""
  copied = 0 // so much of the source is in `parsable`
  tokens = 0
  at = 0
  expectsOperand = true
  /** What the tokenizer takes a `/` for that comes next. */
  slash: "divides" | "regex" | "refused" = "regex"
  /** The token before, where it matters: the name `function`, the parameters of a function, an order operator. */
  before: "function" | "parameters" | "order" | "other" = "other"

  constructor(source: string) {
    this.source = source
  }

  blanks(): void {
    const { source } = this
    for (;;) {
      while (this.at < source.length && whitespace.includes(source[this.at]!)) this.at++
      if (!source.startsWith("/*", this.at)) return
      const end = source.indexOf("*/", this.at + 2)
      if (end === -1) throw new Fault(this.at, "The comment has no end: close it with */.")
      this.at = end + 2
    }
  }

  /** The end of a quoted text; escapes are checked by the parser. */
  quoted(quote: string): number {
    for (let end = this.at + 1; end < this.source.length; end++) {
      if (this.source[end] === "\\") end++
      else if (this.source[end] === quote) return end + 1
    }
    throw new Fault(this.at, `The text has no end: close it with ${quote}.`)
  }

  /** The end of a regular expression, found as the tokenizer finds it. */
  regex(): number {
    const { source } = this
    const from = this.at + 1
    let depth = 0
    for (let end = from; end < source.length; end++) {
      const unit = source[end]!
      if (unit === "/" && depth === 0) {
        let backslashes = 0
        while (source[end - backslashes - 1] === "\\") backslashes++
        if (backslashes % 2 === 0) {
          if (end === from) throw new Fault(this.at, "The regular expression is empty.")
          end++
          while (source[end] === "i" || source[end] === "m") end++
          return end
        }
      }
      if (source[end - 1] === "\\") continue
      if (unit === "(" || unit === "[" || unit === "{") depth++
      if (unit === ")" || unit === "]" || unit === "}") depth--
    }
    throw new Fault(this.at, "The regular expression has no end: close it with /.")
  }

  token(end: number): string {
    const text = this.source.slice(this.at, end)
    if (++this.tokens > MAX_TOKENS) {
      throw new Fault(this.at, `The expression has more than ${MAX_TOKENS} parts: make it shorter.`)
    }
    this.starts.set(end, this.at)
    this.group.parts++
    return text
  }

  operand(end: number, isFunction = false): void {
    const text = this.token(end)
    if (!this.expectsOperand || this.before === "parameters") throw this.unexpected(text)
    this.expectsOperand = false
    this.slash = "divides"
    this.before = isFunction ? "function" : "other"
    this.at = end
  }

  unexpected(text: string): Fault {
    return new Fault(this.at, `"${text}" is not expected here: an operator or a value is missing before it.`)
  }

  open(text: string): void {
    if (this.groups.length >= MAX_NESTING) {
      throw new Fault(this.at, `Brackets are nested more than ${MAX_NESTING} deep.`)
    }
    const { before, expectsOperand } = this
    if (before === "parameters" && text !== "{") {
      throw new Fault(this.at, "The body of a function begins with {; signatures (<…>) are not available.")
    }
    const kind =
      before === "order"
        ? "order"
        : expectsOperand
          ? "list"
          : text === "["
            ? "filter"
            : before === "function" && text === "("
              ? "parameters"
              : "call"
    this.groups.push(this.group)
    this.group = { open: text, at: this.at, kind, done: 0, parts: 0 }
    this.slash = expectsOperand && before !== "order" ? "divides" : "regex"
    this.expectsOperand = true
    this.before = "other"
  }

  close(text: string): void {
    const { group } = this
    if (group.open !== closing[text]) {
      throw new Fault(
        this.at,
        group.open === ""
          ? `"${text}" closes nothing.`
          : `"${text}" does not close the ${group.open} at position ${group.at}.`
      )
    }
    const isEmptyFilter = group.kind === "filter" && this.expectsOperand
    this.group = this.groups.pop()!
    this.group.parts += group.done + group.parts
    this.expectsOperand = false
    this.slash = text === "}" || group.kind === "order" || isEmptyFilter ? "refused" : "divides"
    this.before = group.kind === "parameters" ? "parameters" : "other"
  }

  operator(text: string): void {
    this.token(this.at + text.length)
    if (this.before === "order" && text !== "(") throw new Fault(this.at, "An order is written ^(…).")
    if (text === "(" || text === "[" || text === "{") this.open(text)
    else if (text in closing) this.close(text)
    else if (this.before === "parameters") {
      throw new Fault(this.at, "The body of a function begins with {; signatures (<…>) are not available.")
    } else if (text === "|") {
      throw new Fault(this.at, "Transformations (| … |) are not available.")
    } else if (separators.has(text)) {
      this.group.done += this.group.parts
      this.group.parts = 0
      this.expectsOperand = true
      this.slash = "regex"
      this.before = "other"
    } else if (!this.expectsOperand && infix.has(text)) {
      if (text === "?:" || text === "??") {
        this.group.done += 2 * this.group.parts
        this.group.parts = 0
      }
      this.expectsOperand = true
      this.slash = "regex"
      this.before = text === "^" ? "order" : "other"
    } else if (this.expectsOperand && text === "-") this.slash = "divides"
    else if (this.expectsOperand && (text === "*" || text === "**" || text === "%")) {
      this.expectsOperand = false
      this.slash = "divides"
      this.before = "other"
    } else if (this.expectsOperand && (text === "<" || text === ">") && this.group.kind === "order") {
      this.slash = "regex"
    } else if (this.expectsOperand && text === "?" && this.group.kind === "call") {
      this.expectsOperand = false
      this.slash = "refused"
      this.before = "other"
    } else throw this.unexpected(text)
    if (this.group.done + this.group.parts > MAX_NODES) {
      throw new Fault(this.at, `The expression comes to more than ${MAX_NODES} parts: nest ?: and ?? less deeply.`)
    }
    this.at += text.length
  }

  slashed(): void {
    if (this.slash === "refused") throw this.unexpected("/")
    if (this.slash === "divides") return this.operator("/")
    const end = this.regex()
    this.parsable += `${this.source.slice(this.copied, this.at)}"${"r".repeat(end - this.at - 2)}"`
    this.copied = end
    this.regexes.add(end)
    this.operand(end)
  }

  next(): void {
    const { at, source } = this
    const unit = source[at]!
    const pair = source.slice(at, at + 2)
    if (double.has(pair)) return this.operator(pair)
    if (unit === "/") return this.slashed()
    if (single.has(unit)) return this.operator(unit)
    if (unit === '"' || unit === "'") return this.operand(this.quoted(unit))
    number.lastIndex = at
    if (number.test(source)) return this.operand(number.lastIndex)
    if (unit === "`") {
      const end = source.indexOf("`", at + 1)
      if (end === -1) throw new Fault(at, "The quoted name has no end: close it with a backquote (`).")
      return this.operand(end + 1)
    }
    let end = at
    while (end < source.length && !whitespace.includes(source[end]!) && !single.has(source[end]!)) end++
    const name = source.slice(at, end)
    if ((name === "and" || name === "or" || name === "in") && !this.expectsOperand) return this.operator(name)
    this.operand(end, name === "function" || name === "λ")
  }

  run(): Scanned {
    const { source } = this
    for (this.blanks(); this.at < source.length; this.blanks()) this.next()
    if (this.groups.length > 0) throw new Fault(this.group.at, `The ${this.group.open} is never closed.`)
    return {
      parsable: this.parsable + source.slice(this.copied),
      regexes: this.regexes,
      startOf: (end) => this.starts.get(end) ?? Math.min(end, source.length)
    }
  }
}

export const scanExpression = (source: string): Result.Result<Scanned, ExpressionFault> => {
  if (source.length > MAX_SOURCE_UNITS) {
    const message = `The expression has ${source.length} characters, more than ${MAX_SOURCE_UNITS}.`
    return Result.fail({ position: MAX_SOURCE_UNITS, message })
  }
  try {
    return Result.succeed(new Scan(source).run())
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault
    return Result.fail({ position: fault.position, message: fault.message })
  }
}
