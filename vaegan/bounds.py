"""Types of configuration fields with their bounds.

A configuration is a plain dataclass: it states its bounds, and whoever reads one from a file
checks them.
"""

from typing import Annotated, Literal

from annotated_types import Ge, Interval

Count = Annotated[int, Ge(1)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
Rate = Annotated[float, Interval(gt=0, le=1)]
Weight = Annotated[float, Interval(ge=0, le=1e6)]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
Threads = Annotated[int, Interval(ge=1, le=1024)]
Device = Literal["auto", "cpu", "cuda", "mps"]
