/**
 * One copy of each of the texts that come again and again in what is kept for a while, such as ids in parsed JSON: there every
 * object has texts of its own.
 * @param most texts known; of more all are forgotten, and each has another copy from then on
 */
export const sharedTexts = (most: number) => {
  const known = new Map<string, string>()
  return <Text extends string>(text: Text): Text => {
    const present = known.get(text)
    if (present !== undefined) return present as Text
    if (known.size >= most) known.clear()
    known.set(text, text)
    return text
  }
}
