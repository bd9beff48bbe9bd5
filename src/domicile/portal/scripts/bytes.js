// A second checker of bundles, written from docs/formats.md, where each rule stands at length. It shares no code and no
// language with the first, domicile-audit. Read bytes.js (JSON, keys, signatures), bundle.js (checks 1 to 9: from a zip
// to statements), story.js and certificate.js (10 to 24: what they tell, and `audit`), policy.js (whom the reader
// believes), page.js.
"use strict";

const MIB = 1024 * 1024;
const LIMITS = { bundle: 256 * MIB, files: 60001, json: 64 * MIB, detached: 640 * MIB, note: 131072, size: 4194304 };

class Refused extends Error {} // the evidence does not hold
class Unable extends Error {} // this browser can't tell

function need(holds, reason) {
  if (!holds) throw new Refused(reason);
}

// ---------------------------------------------------------------------------------------------------- bytes and texts
const same = (a, b) => a.length === b.length && a.every((byte, place) => byte === b[place]);
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const utf8 = (text) => new TextEncoder().encode(text);
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const sha256hex = async (bytes) => hex(await sha256(bytes));

function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

function tried(read) {
  try {
    return read();
  } catch {
    return null;
  }
}

function readText(bytes, where) {
  const text = tried(() => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  need(text !== null, `${where} is not UTF-8`);
  return text;
}

function readBase64(text, where) {
  const signs = tried(() => atob(text));
  need(signs !== null && btoa(signs) === text, `${where} is not base64 in its one spelling`);
  return Uint8Array.from(signs, (sign) => sign.charCodeAt(0));
}

// ------------------------------------------------------------------------------------------- JSON in its one spelling
// JavaScript sorts by UTF-16, in which signs beyond U+FFFF stand before U+E000; here they stand last.
const inOrder = (text) => text.replace(/[\ud800-\udfff]/g, "\uffff$&");
const byCodePoint = (a, b) => (inOrder(a) < inOrder(b) ? -1 : 1);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function spell(value) {
  const member = (key) => `${spell(key)}:${spell(value[key])}`;
  if (Array.isArray(value)) return `[${value.map(spell).join(",")}]`;
  if (isObject(value)) return `{${Object.keys(value).sort(byCodePoint).map(member).join(",")}}`;
  need(typeof value !== "number" || Number.isSafeInteger(value), "a number that is not whole, or too large");
  need(typeof value !== "string" || !/\p{Cs}/u.test(value), "half a sign");
  return JSON.stringify(value);
}

function readJson(bytes, where) {
  need(bytes.length <= LIMITS.json, `${where} is longer than ${LIMITS.json} bytes`);
  const text = readText(bytes, where), value = tried(() => JSON.parse(text)); // tried: or nested too deeply
  need(tried(() => spell(value)) === text, `${where} is not JSON of whole numbers and texts in its one spelling`);
  return value;
}

/** A shape is an object (exactly these keys), a list of one shape, or a function that says whether a value fits. */
function fits(value, shape) {
  if (typeof shape === "function") return shape(value);
  const isFew = value?.length <= 1e6;
  if (Array.isArray(shape)) return Array.isArray(value) && isFew && value.every((one) => fits(one, shape[0]));
  const keys = Object.keys(shape), isFit = (key) => Object.hasOwn(value, key) && fits(value[key], shape[key]);
  return isObject(value) && Object.keys(value).length === keys.length && keys.every(isFit);
}

const isText = (value) => typeof value === "string";
const isPrintable = (text) => !/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(text);
const TEXT = (value) => isText(value) && value.length <= 8192 && [...value].length <= 4096 && isPrintable(value);
const HEX = (value) => isText(value) && /^[0-9a-f]{64}$/.test(value);
const COUNT = (value) => Number.isSafeInteger(value) && value >= 0;
const FLAG = (value) => typeof value === "boolean";
const isDate = (value, whole) => value >= "1000" && new Date(value).toJSON() === whole; // or null
const TIME = (value) => isText(value) && isDate(value, value.replace(/Z$/, ".000Z"));
const DAY = (value) => isText(value) && isDate(value, `${value}T00:00:00.000Z`);
const oneOf = (...words) => (value) => words.includes(value);
const maybe = (shape) => (value) => value === null || fits(value, shape);
const map = (shape) => (value) => isObject(value) && Object.keys(value).length <= 1e6
  && Object.entries(value).every(([key, inner]) => TEXT(key) && fits(inner, shape));

// ------------------------------------------------------------------------------------------------ keys and signatures
const ED25519 = { name: "Ed25519" };
const SMALL_ORDER = [ // the y of points of small order, with which anybody signs
  "00".repeat(32), `01${"00".repeat(31)}`, ...["ec", "ed", "ee"].map((low) => `${low}${"ff".repeat(30)}7f`),
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

/** A key from its line NAME+ID+KEY; `sizes` says by type how many bytes a key that may stand here has. */
async function readKey(line, where, sizes = { 1: 32 }) {
  const [, name, id, base64] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(line) ?? [];
  const isLine = base64 && [...line].length <= 4096 && isPrintable(name) && !name.includes(" ");
  need(isLine, `${where} is not a key NAME+ID+KEY`);
  const bytes = readBase64(base64, `${where} is not a key: it`), raw = bytes.slice(1), [type] = bytes;
  need(raw.length === sizes[type], `${where} is not a key of a type that may stand there`);
  const isSmall = raw.length === 32 && SMALL_ORDER.includes(hex([...raw.slice(0, 31), raw[31] & 127]));
  need(!isSmall, `${where} is a key of small order, with which anybody signs`);
  const own = hex((await sha256(join([utf8(`${name}\n`), bytes]))).slice(0, 4));
  need(own === id, `${where} is not a key: name, id and key do not belong together`);
  return { name, id, keyid: `${name}+${id}`, vkey: line, type, raw };
}

async function isSigned(key, message, signature) {
  key.handle ??= await crypto.subtle.importKey("raw", key.raw, ED25519, false, ["verify"]).catch(() => null);
  if (key.handle === null || signature.length !== 64) return false; // no point of the curve; no signature
  return crypto.subtle.verify(ED25519, key.handle, signature, message);
}

/** The payload of an envelope of that type, and which of the keys signed it. */
async function openEnvelope(bytes, type, keys, where) {
  const envelope = readJson(bytes, where), signatures = [{ keyid: TEXT, sig: isText }];
  const isEnvelope = fits(envelope, { payload: isText, payloadType: oneOf(type), signatures });
  need(isEnvelope && envelope.signatures.length === 1, `${where} is no DSSE envelope of ${type} with one signature`);
  const [{ keyid, sig }] = envelope.signatures, signer = keys.get(keyid), payload = readBase64(envelope.payload, where);
  need(signer, `${where} is signed by a key that has no place here: ${keyid}`);
  const signed = join([utf8(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
  need(await isSigned(signer, signed, readBase64(sig, where)), `${where}: the signature of ${keyid} is wrong`);
  return { payload, signer };
}

/** Refuse to judge in a browser that doesn't know RFC 8032: its first test must hold, and not with a flipped bit. */
async function requireCrypto() {
  const open = "open the page from a file or over https";
  if (!globalThis.crypto?.subtle) throw new Unable(`this browser gives this page no Web Crypto; ${open}`);
  const key = { raw: readBase64("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=") };
  const signed = "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==";
  const signature = readBase64(signed), holds = () => isSigned(key, new Uint8Array(0), signature).catch(() => null);
  const good = await holds();
  signature[3] ^= 1;
  if (good !== true || (await holds()) !== false) throw new Unable("this browser can't check Ed25519 signatures");
}
