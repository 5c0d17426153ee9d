/**
 * Passwords that are tried first. Short ones are refused for their length; what is left is what people make of them when they
 * are told to use twelve characters: a common word with digits and signs around it, a word or a run of keys again and again.
 *
 * The words are what the most frequent entries of `xato-net-10-million-passwords-1000` and `2025-199_most_used_passwords`
 * come to without their digits and signs, as SecLists (MIT licence) publishes them.
 * @module
 */

const words = new Set(
  `aaaa aaron abcd abcdef abcdefg abcdefgh access accord action adidas admin administrator adminisp adminadmin
  admintelecom adrian airborne alaska albert alex alexander alexis alice alicia alison allison alpha alyssa amanda america
  american anderson andre andrea andrew andrey angel angela angels animal anthony antonio apollo apple apples arizona
  arnold arsenal arthur asdf asdfasdf asdfg asdfgh asdfghjk asdfghjkl ashley asdasd august austin avalon avatar awesome
  azerty babygirl badboy badger bailey bambam banana bandit barbara barney baseball basketball batman baxter bear beatles
  beaver benjamin bigdaddy bigdog bill billy birdie bishop bismillah black blazer blink blue bobby bond bonnie booboo
  boogie boomer boston bradley brandon brandy brandi braves brazil brenda brian brittany bronco broncos brooke brooklyn
  bubba bubbles buddha buddy budlight buffalo bulldog bulldogs bullet burton buster butter calvin camaro cameron canada
  captain cardinal carlos carmen carolina caroline carter cartman casper cassie celtic champion chance change changeit
  changeme charles charlie cheese chelsea cherokee cherry chester chevelle chevy chicago chicken chopper chris christ
  christin cisco claire classic claudia cocacola coffee college colorado compaq computer connor contrasena contraseña cookie
  cool cooper copper corvette cougar courtney cowboy cowboys crazy creative cricket crystal daddy dakota dallas dancer danger
  daniel danielle darkness darkside dave david death debbie december default demo denise dennis denver destiny dexter diablo
  diamond diesel digger digital disney doctor doggie dolphin dolphins domino donald donkey douglas dragon dreamer dreams
  driver drummer ducati duncan eagle eagles eclipse edward einstein electric elephant elizabeth elvis eminem empire england
  enigma enter eric eugene everton explorer extreme falcon family fantasy fender ferrari fire fireman fish fishing florida
  flower fluffy flyers football ford forest forever francis frank frankie franklin fred freddy free freedom freeuser friday
  friend friends froggy gabriel galina gandalf garfield gateway gators gemini general genesis genius george georgia giants
  gibson ginger girls global goblue godzilla golden golf golfer google gordon green gregory guest guinness guitar gunner guru
  hammer hannah happy hardcore harley hawaii heather heaven hello hendrix heslo hiphop hitman hockey homer honda horses hotdog
  hotrod house houston howard hummer hunter iceman iloveyou india indian infinity internet ireland ironman jack jackie jackson
  jaguar jake james jasmine jason jasper javascript jeffrey jennifer jeremy jesse jessica jessie jester jesus jimmy john johnny
  johnson jonathan jordan joseph joshua junior jupiter justice justin juventus kapler karina kawasaki kelly kermit kevin killer
  kimberly king kirill kitten kitty klaster knight kristina lacrosse lakers lalala lasvegas lauren legend leslie letmein liberty
  lifehack little liverpool lizard logitech london louise love lovelove lovely loveme lover lovers loveyou lucky maddog madison
  madmax madonna maggie magic magnum marcus marina marine marines mark marlboro marley marshall martin marvin maryjane master
  matrix matt matthew maverick maximus maxwell melanie melissa member mercedes mercury merlin metallic metallica mexico michael
  michelle michigan mickey midnight mike miller minecraft mitchell molly monday money monica monkey monster montana morgan mother
  motorola mountain mozart muffin murphy music mustang mnbvcxz naruto nascar natalie natasha nathan naughty nelson nemesis newport
  newyork nicholas nicole nikita nintendo nirvana nissan norman nothing november october oksana oliver olivia online orange packers
  pakistan pamela panther panthers paradise parker pass passion passport password passwords passwort patches patricia patrick
  patriots paul peaches peanut pearljam peekaboo penguin people pepper peter phantom phoenix picard pirate platinum playboy player
  please pokemon police polina poohbear pookie popcorn porsche power predator prince princess private psycho pumpkin purple qazwsx
  qazwsxedc qazxsw qqqq qwaszx qweasd qweasdzxc qweqwe qwer qwert qwerty qwertyu qwertyui qwertyuiop qwertz rabbit rachel racing
  raider raiders rainbow ranger rangers raptor rascal rebecca redskins redsox redwings reggie richard robert rocket rocky roland
  rolltide rooster root rosebud runner ruslan russell russia sabrina saints samantha sammy samson samsung samuel sandman sandra
  sarah saturn school scooby scooter scorpio scorpion scotland scott scotty secret security semperfi sergey server shadow shannon
  sharon shelby shorty sierra silver simon simple simpson simpsons skipper skippy skyline slayer slipknot smith smokey smooth
  snickers sniper snoopy snowball soccer softball sophie sparky speedy spencer spider spiderman spirit spitfire spooky spring
  stalker stanley stargate startrek starwars steelers stella stephen steve steven student sublime success summer sunshine super
  superman surfer suzuki svetlana sweet sydney system taylor telekom tennis teresa test tester testing thomas thunder tiffany tiger
  tigers tigger timothy tinker titanic tomcat tommy topgun toyota travis trinity trouble trustno tucker turkey turktelekom turtle
  tweety united user valentin vampire vanessa vegeta veronica victor victoria victory viking vikings vincent viper virginia vision
  vladimir vodafone voodoo voyager walker walter warcraft warrior water welcome westside whatever wildcat wildcats william williams
  willie willow wilson windows winner winston winter wizard wolf wolfpack wolverine wombat xavier xxxx yamaha yankee yankees yellow
  zachary zaqwsx zombie zxcvbn zxcvbnm zzzz argusiq unknown`.split(/\s+/)
)

const phrases = new Set(["theworldinyourhand", "iloveyousomuch", "letmeinplease", "correcthorsebatterystaple"])

/** Signs that stand for letters. */
const letters: Readonly<Record<string, string>> = {
  "@": "a",
  "4": "a",
  "3": "e",
  "1": "i",
  "!": "i",
  "0": "o",
  $: "s",
  "5": "s",
  "7": "t"
}
const withLetters = (text: string) => text.replaceAll(/[@43!10$57]/g, (sign) => letters[sign] ?? sign)
/** Without digits and signs before and behind it. */
const core = (text: string) => text.replaceAll(/^[^\p{L}]+|[^\p{L}]+$/gu, "")

const rows = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "abcdefghijklmnopqrstuvwxyz", "1q2w3e4r5t6y7u8i9o0p"]
const steps = new Set(rows.flatMap((row) => pairsOf(row + row[0])).flatMap(([a, b]) => [`${a}${b}`, `${b}${a}`]))
function pairsOf(text: string): ReadonlyArray<readonly [string, string]> {
  return Array.from({ length: text.length - 1 }, (_, index) => [text[index]!, text[index + 1]!] as const)
}
/** How often the hand jumps: keys beside one another, and the same again, are no jump. */
const jumpsIn = (text: string) => pairsOf(text).filter(([a, b]) => a !== b && !steps.has(a + b)).length

/** The shortest text that it is repetitions of; the whole where it is none. */
const unitOf = (text: string): string => {
  for (let length = 1; length <= text.length / 2; length++) {
    const unit = text.slice(0, length)
    if (unit.repeat(Math.ceil(text.length / length)).slice(0, text.length) === text) return unit
  }
  return text
}

/** A run of keys once, or another one behind it. */
const MOST_JUMPS = 2
/** Repeated, a text is worth little more than once. */
const LEAST_UNIT = 8

const isWord = (text: string) => words.has(text) || phrases.has(text)

export const isCommonPassword = (password: string): boolean => {
  const lower = password.normalize("NFKC").toLowerCase()
  const [plain, spelled] = [core(lower), core(withLetters(lower))]
  // "p@ssw0rd!2024": its letters are found before the digits behind it are taken for some.
  const inner = withLetters(core(lower.replace(/[\d!$@#%&*._-]+$/, "").replace(/^[\d!$#%&*._-]+/, "")))
  return (
    [plain, spelled, inner, withLetters(plain)].some((text) => isWord(text) || isWord(unitOf(text))) ||
    unitOf(lower).length < LEAST_UNIT ||
    jumpsIn(lower) <= MOST_JUMPS
  )
}
