"""Clips to fill a new service with: made by ffmpeg from nothing but a seed, so that they belong to nobody.

Each has moving colours, a title and a plucked tune. The same seed gives the same files, and what is there already
is not made again.
"""

from __future__ import annotations

import colorsys
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Final

from shortvideo.media import ffmpeg, lettering

WIDTH: Final = 360
HEIGHT: Final = 640
FRAMES_PER_SECOND: Final = 24
SECONDS_MIN: Final = 2.0
SECONDS_MAX: Final = 6.0
RECIPE: Final = 1
"""Part of the files' names: a change of what is drawn makes them anew."""

FIRST: Final = ("quiet", "paper", "velvet", "amber", "distant", "golden", "electric", "little", "midnight", "sugar")
SECOND: Final = ("tide", "moon", "static", "garden", "echo", "meadow", "signal", "comet", "ember", "orchard", "thunder")
SCALE: Final = (220.0, 246.94, 277.18, 329.63, 369.99, 440.0, 493.88, 554.37)  # A major without the half steps, in Hz

Palette = tuple[str, str, str]


def make(folder: Path, count: int, seed: int) -> list[Path]:
    """Return `count` clips in `folder`, an MP4 each with its poster beside it (`with_suffix(".jpg")`)."""
    folder.mkdir(parents=True, exist_ok=True)
    made = paths(folder, count, seed)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_make, made, (f"{RECIPE} {seed} {number}" for number in range(count))))
    return made


def paths(folder: Path, count: int, seed: int) -> list[Path]:
    """Where those clips lie, once they are made."""
    return [folder / f"clip-{RECIPE}-{seed}-{number:04}.mp4" for number in range(count)]


def _make(path: Path, seed: str) -> None:
    poster = path.with_suffix(".jpg")
    if poster.exists():  # it comes last
        return
    chance = Random(seed)  # noqa: S311 - pictures, no secrets
    seconds = round(chance.uniform(SECONDS_MIN, SECONDS_MAX), 1)
    scene = chance.choice(SCENES)(chance, _palette(chance))
    title = f"{chance.choice(FIRST)} {chance.choice(SECOND)}"
    graph = (
        f"{scene},fps={FRAMES_PER_SECOND},scale={WIDTH}:{HEIGHT}:flags=neighbor,setsar=1[scene];"
        f"[0:v]scale=iw*5:-1:flags=neighbor[title];"
        f"[scene][title]overlay=(W-w)/2:H*{chance.uniform(0.2, 0.6):.2f}+10*sin(2*t),trim=0:{seconds},"
        f"format=yuv420p[seen];"
        f"aevalsrc=exprs={_tune(chance)}:s=44100:d={seconds}[heard]"
    )
    _encode(path, graph, lettering.picture(title))
    _replace(poster, ["-ss", f"{seconds / 2}", "-i", path, "-frames:v", "1", "-q:v", "5"])


def _encode(path: Path, graph: str, title: bytes) -> None:
    """Encode in one thread without marks of time or version: as many threads as there are, other bytes."""
    _replace(
        path,
        [
            *("-filter_threads", "1", "-filter_complex_threads", "1", "-f", "pam_pipe", "-i", "pipe:0"),
            *("-filter_complex", graph, "-map", "[seen]", "-map", "[heard]"),
            *("-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-maxrate", "140k", "-bufsize", "140k"),
            *("-c:a", "aac", "-b:a", "40k", "-threads", "1", "-map_metadata", "-1", "-movflags", "+faststart"),
            *("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"),
        ],
        given=title,
    )


def _replace(path: Path, arguments: list[str | Path], *, given: bytes | None = None) -> None:
    """Write beside and rename: a run that was cut off leaves no half a file, and two runs don't meet."""
    half = path.with_name(f"half-{os.getpid()}-{path.name}")
    ffmpeg.run([*arguments, half], given=given)
    half.replace(path)


def _palette(chance: Random) -> Palette:
    """Return a dark, a full and a light colour that go together."""
    hue, turn = chance.random(), chance.choice((0.08, 0.33, 0.5))
    parts = ((hue, 0.16, 0.7), (hue + turn, 0.5, 0.85), (hue + 2 * turn, 0.72, 0.9))
    colours = (colorsys.hls_to_rgb(h % 1, lightness, saturation) for h, lightness, saturation in parts)
    dark, full, light = ("".join(f"{round(255 * part):02x}" for part in colour) for colour in colours)
    return dark, full, light


def _tune(chance: Random) -> str:
    """Return four notes of a pentatonic scale, plucked in turn: no draw sounds wrong."""
    notes = (chance.choice(SCALE) for _ in range(4))
    return "+".join(f"0.2*sin({6.2832 * note:.1f}*t)*exp(-5*mod(t+{beat / 4}\\,1))" for beat, note in enumerate(notes))


def _between(palette: Palette) -> str:
    """Return the filter that makes black the palette's dark and white its light, through the full colour."""
    low, middle, high = (bytes.fromhex(colour) for colour in palette)
    channels = (
        f"{name}='if(lt(val,128),{a}+({b}-{a})*val/128,{b}+({c}-{b})*(val-128)/127)'"
        for name, a, b, c in zip("rgb", low, middle, high, strict=True)
    )
    return f"format=gray,format=rgb24,lutrgb={':'.join(channels)}"


def _drift(chance: Random, palette: Palette) -> str:
    kind = chance.choice(("linear", "radial", "circular", "spiral"))
    colours = ":".join(f"c{place}=0x{colour}" for place, colour in enumerate(palette))
    return (
        f"gradients=s=180x320:r=24:{colours}:n=3:type={kind}:speed=0.03:seed={chance.randrange(1000)},"
        f"scale={WIDTH}:{HEIGHT}:flags=bilinear"
    )


def _rings(chance: Random, palette: Palette) -> str:
    """Two stones thrown into water."""
    centres = [(chance.randrange(90), chance.randrange(160)) for _ in range(2)]
    waves = "+".join(f"sin(hypot(X-{x}\\,Y-{y})/{chance.randrange(4, 9)}-5*T)" for x, y in centres)
    return (
        f"color=s=90x160:r=24,format=gray,geq=lum='128+60*({waves})',"
        f"scale={WIDTH}:{HEIGHT}:flags=bilinear,{_between(palette)}"
    )


def _life(chance: Random, palette: Palette) -> str:
    dark, full, light = palette
    return (
        f"life=s=45x80:r=10:ratio=0.3:mold=12:seed={chance.randrange(1000)}:"
        f"life_color=0x{light}:mold_color=0x{full}:death_color=0x{dark}"
    )


def _smoke(chance: Random, palette: Palette) -> str:
    return (
        f"perlin=s=90x160:r=24:octaves=3:tscale=0.8:random_mode=seed:seed={chance.randrange(1000)},format=gray,"
        f"lutyuv=y='clip(3*(val-128)+128,0,255)',scale={WIDTH}:{HEIGHT}:flags=bilinear,{_between(palette)}"
    )


def _weave(chance: Random, palette: Palette) -> str:
    """A carpet that a rule of three neighbours weaves."""
    rule = chance.choice((30, 45, 73, 90, 105, 110))
    dark, full, _ = palette
    return f"cellauto=s=45x80:r=12:rule={rule}:seed={chance.randrange(1000)}:full=1,{_between((dark, full, full))}"


def _stairs(chance: Random, palette: Palette) -> str:
    """Bars that rise and fall past each other."""
    wide, quick = chance.choice((6, 9, 15)), chance.choice((2, 3, 5))
    return (
        f"color=s=90x160:r=24,format=gray,"
        f"geq=lum='if(gt(Y\\,80+60*sin({quick}*T+floor(X/{wide})))\\,40+floor(X/{wide})*12\\,230-Y)',"
        f"{_between(palette)}"
    )


SCENES: Final[tuple[Callable[[Random, Palette], str], ...]] = (_drift, _rings, _life, _smoke, _weave, _stairs)
