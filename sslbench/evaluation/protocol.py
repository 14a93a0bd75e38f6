"""What a protocol is, and a value that it measures. Imports no torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from sslbench import plugins
from sslbench.recipes.specs import EncoderSpec

if TYPE_CHECKING:
    from sslbench.recipes.recipe import Recipe

Better = Literal["higher", "lower", "none"]
POINTS = ("%", "points", "AP")  # units of percentages, where 0.3 is the least that counts


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value that is measured; its declaration is the only place that knows these things of it.

    Attributes:
        unit: "" for a bare number.
        better: "none" where neither direction is.
        guesses: an accuracy's right answer may be among so many classes (5 of top-5); 0 where
            the value is no accuracy.
    """

    key: str
    unit: str = ""
    better: Better = "none"
    guesses: int = 0

    def chance(self, top1: float) -> float:
        """Chance accuracy in percent, from that of a single guess; NaN of what is no accuracy."""
        return min(100.0, self.guesses * top1) if self.guesses else math.nan


TOP1 = Value(key="top1", unit="%", better="higher", guesses=1)
TOP5 = Value(key="top5", unit="%", better="higher", guesses=5)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all protocols share: a versioned name, and a line that says what is measured.

    A subclass is a kind of protocol. Its fields are the settings, which enter the definition; what
    it declares as class variables does not.

    Attributes:
        needs: what must be known of training and test images, in the words of
            `sslbench.data.registry.ANNOTATIONS`.
        values: what it measures; of each data set those that it has (top-5 takes six classes).
        runner: "module:function", imported when it is used; the function takes the protocol and a
            `Subject`, and returns an `Outcome`.
        checker: "module:function" with the same arguments, which refuses a `Subject` in a
            sentence; it is asked before anything is computed for any protocol.
        per_image: "module:class" of a `resampling.PerImage`, which two runs are compared by; ""
            where they are by the classes that they predict, if any.
        image_seconds: a guess of what an image of a fit costs a core besides the encoder, to
            estimate time by.
        short: a further short name, beside `name` without its version.
    """

    needs: ClassVar[frozenset[str]]
    values: ClassVar[tuple[Value, ...]]
    runner: ClassVar[str]
    checker: ClassVar[str] = ""
    per_image: ClassVar[str] = ""
    image_seconds: ClassVar[float] = 0.0

    name: str
    summary: str
    short: str = ""

    @property
    def definition(self) -> str:
        """12 hex digits of the SHA-256 of every setting, and of the content of a plugin that the
        protocol is of; two scores compare only if it agrees."""
        settings = dataclasses.asdict(self)
        for name in ("summary", "short"):
            del settings[name]
        if used := plugins.used_by([type(self), self.runner]):
            settings["plugins"] = sorted(used.values())
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]

    def passes(self, images: int) -> float:
        """Passes over so many training images in which an encoder learns, to estimate time by; 0
        where it stays as it is."""
        return 0.0

    def scratch_passes(self, images: int, *, pretraining: float) -> float:
        """The same of what is trained from scratch beside it, which runs of one encoder, data set
        and seed share.

        Args:
            pretraining: epochs of the run.
        """
        return 0.0

    def value(self, key: str) -> Value | None:
        """The declaration of a value, or None where the protocol measures no such thing."""
        return next((value for value in self.values if value.key == key), None)

    def require_recipe(self, recipe: Recipe) -> None:
        """Raise UserError for a recipe whose runs are known to have nothing to measure here; a grid
        asks before it trains one."""
        self.require_encoder(recipe.encoder)

    def require_encoder(self, encoder: EncoderSpec) -> None:
        """The same for an encoder, whatever it is trained by."""
