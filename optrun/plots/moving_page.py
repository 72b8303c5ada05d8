"""A page in which a picture moves: what stays is there once, and each frame has the pixels that differ."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@title@</title>
<style>
  body { margin: 1rem; font-family: sans-serif; }
  #picture { position: relative; width: @width@px; max-width: 100%; }
  #picture img { display: block; width: 100%; }
  #moving { position: absolute; top: 0; left: 0; }
  #controls { display: flex; gap: 0.5rem; width: @width@px; max-width: 100%; }
  #place { flex: 1; }
</style>
<div id="picture"><img src="@still@" alt="@title@"><img id="moving" alt=""></div>
<div id="controls">
  <button id="play">Play</button>
  <input id="place" type="range" min="0" max="@last@" value="0" aria-label="frame">
</div>
<script>
  const frames = @frames@;
  const [moving, place, play] = ["moving", "place", "play"].map((id) => document.getElementById(id));
  let timer = null;
  const show = (frame) => { place.value = frame; moving.src = frames[frame]; };
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const next = () => { if (+place.value < frames.length - 1) show(+place.value + 1); else stop(); };
  const start = () => { timer = setInterval(next, @milliseconds@); play.textContent = "Pause"; };
  play.onclick = () => {
    if (timer !== null) return stop();
    if (+place.value === frames.length - 1) show(0);
    start();
  };
  place.oninput = () => { stop(); show(+place.value); };
  show(0);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) start();
</script>
</html>
"""


def moving_page(still: Any, frames: Sequence[Any], *, title: str, per_second: int) -> bytes:
    """Return a page of HTML that shows frames over a still picture, once, with a button and a slider.

    All are Pillow's images of one size and one palette of at most 255 colours.
    """
    background = np.asarray(still)
    width, _ = still.size
    shown = "[{}]".format(",\n".join(f'"{_png(_difference(background, frame))}"' for frame in frames))
    page = (
        _PAGE.replace("@title@", escape(title)).replace("@width@", str(width)).replace("@still@", _png(still))
    )
    page = page.replace("@last@", str(len(frames) - 1)).replace("@milliseconds@", str(1000 // per_second))
    return page.replace("@frames@", shown).encode()


def _difference(background: Any, frame: Any) -> Any:
    """Return a frame whose pixels are transparent where they are those of the background."""
    from PIL import Image

    pixels = np.asarray(frame)
    found: Any = Image.fromarray(np.where(pixels == background, TRANSPARENT, pixels).astype(np.uint8), "P")
    # All 256 entries, since Pillow leaves out the transparent one beyond the end of a palette.
    found.putpalette([*frame.getpalette(), *[0] * 768][:768])
    found.info["transparency"] = TRANSPARENT
    return found


def _png(image: Any) -> str:
    stream = BytesIO()
    image.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


TRANSPARENT = 255
"""The place in a palette of what is not painted."""
