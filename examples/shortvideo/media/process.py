"""Makes an upload safe to show: whatever comes in, a plain H.264 MP4 of bounded size goes out, or nothing.

Every upload is encoded anew, also one that looks right. What a phone wrote beside the pictures (the place, the
owner's name, the device) ends here, and so does whatever is no picture at all. Nothing the file says about itself
is trusted: the limits are held while it is decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shortvideo.media import ffmpeg

BYTES_MAX: Final = 64 * 1024 * 1024
SECONDS_MAX: Final = 60
WIDTH_MAX: Final = 720
HEIGHT_MAX: Final = 1280
PIXELS_MAX: Final = 8192 * 4320  # of a frame, before it is made smaller
FRAMES_PER_SECOND_MAX: Final = 30
WORK_SECONDS_MAX: Final = 120
# Containers that phones and browsers record. Not on the list: playlists and scripts (HLS, concat, …), which make
# the decoder open other files and addresses and show them to the uploader.
CONTAINERS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg"


class NotAVideo(ValueError):
    """The upload is refused; the message is a sentence for the person who sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What is kept of an upload."""

    video: Path
    poster: Path
    duration_s: float
    width: int
    height: int


def prepare(upload: Path, folder: Path) -> Clip:
    """Make `upload` into `video.mp4` and `poster.jpg` in `folder`; raise NotAVideo."""
    size = upload.stat().st_size
    if size > BYTES_MAX:
        raise NotAVideo(f"This file is larger than {BYTES_MAX // 1024**2} MB.")
    if not size:
        raise NotAVideo("This file is empty.")
    video, poster = folder / "video.mp4", folder / "poster.jpg"
    try:
        _encode(upload, video)
        duration_s, width, height = measure(video)
    except ffmpeg.FfmpegFailed:
        raise NotAVideo("This file can't be played: it is no video, or of a kind that we don't know.") from None
    if duration_s > SECONDS_MAX:
        raise NotAVideo(f"This video is longer than {SECONDS_MAX} seconds.")
    still(video, poster, at_s=min(1.0, duration_s / 2))
    return Clip(video=video, poster=poster, duration_s=duration_s, width=width, height=height)


def still(video: Path, poster: Path, *, at_s: float = 0) -> None:
    """Write one frame of a clip of ours as a JPEG; raise ffmpeg.FfmpegFailed."""
    ffmpeg.run(["-ss", f"{at_s:.3f}", "-i", video, "-frames:v", "1", "-q:v", "4", poster])


def _encode(upload: Path, video: Path) -> None:
    size = f"scale=w='min({WIDTH_MAX},iw)':h='min({HEIGHT_MAX},ih)'"
    ffmpeg.run(
        [
            *("-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-max_pixels", str(PIXELS_MAX)),
            *("-i", upload, "-t", str(SECONDS_MAX + 1)),  # a second more, to see that there is more
            *("-map", "0:v:0", "-map", "0:a:0?", "-map_metadata", "-1", "-map_chapters", "-1"),
            *("-vf", f"{size}:force_original_aspect_ratio=decrease:force_divisible_by=2,setsar=1,format=yuv420p"),
            *("-fpsmax", str(FRAMES_PER_SECOND_MAX), "-c:v", "libx264", "-preset", "veryfast", "-crf", "26"),
            *("-maxrate", "2M", "-bufsize", "4M", "-threads", "1"),  # the other processors are for those who watch
            *("-c:a", "aac", "-b:a", "96k", "-ac", "2", "-ar", "48000", "-movflags", "+faststart", video),
        ],
        seconds_max=WORK_SECONDS_MAX,
    )


def measure(video: Path) -> tuple[float, int, int]:
    """Return seconds, width and height of a file of our own, as ffmpeg tells of it while it decodes it."""
    said = ffmpeg.run(["-loglevel", "info", "-i", video, "-map", "0:v", "-c", "copy", "-f", "null", "-"])
    size = re.search(r"Video: h264.*?, (\d+)x(\d+)[ ,]", said)
    length = re.search(r"Duration: (\d+):(\d\d):(\d\d\.\d+)", said)
    if size is None or length is None:
        raise ffmpeg.FfmpegFailed("no picture came out")
    hours, minutes, seconds = length.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds), int(size[1]), int(size[2])
