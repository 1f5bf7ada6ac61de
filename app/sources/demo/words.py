"""What is invented: hashtags beside the tracked ones, authors, and what they say; pure."""

from functools import lru_cache

from app.messages import Shown

OTHERS = (
    "news", "music", "photography", "travel", "books", "coffee",
    "art", "food", "gaming", "history", "cycling", "weather",
)  # fmt: skip
"""Hashtags that are always there, those of the most posts first."""
FIRST = (
    "Amber", "Blue", "Copper", "Distant", "Early", "Gentle",
    "Hidden", "Ivory", "Little", "Northern", "Open", "Silver",
)  # fmt: skip
MIDDLE = (
    "Bridge", "Comet", "Forest", "Harbour", "Island", "Kite", "Lantern", "Meadow",
    "Orchard", "Paper", "River", "Robot", "Shadow", "Tower", "Violin", "Winter",
)  # fmt: skip
LAST = (
    "Day", "Fair", "Fest", "Final", "Launch", "March",
    "Night", "Parade", "Quiz", "Race", "Talk", "Watch",
)  # fmt: skip
NAMES = len(FIRST) * len(MIDDLE) * len(LAST)
APART = 1009
"""Without a common divisor with NAMES: each comes once in a round, next to one of other words."""
PEOPLE = 500
FIRST_NAMES = ("Ada", "Bo", "Chidi", "Dana", "Emre", "Fia", "Goran", "Hana", "Ines", "Jun")
LAST_NAMES = ("Adler", "Birk", "Castro", "Dube", "Engel", "Faroe", "Gupta", "Holm", "Ito", "Juarez")
SAYINGS = (
    "What a day for {tag}!",
    "I have just read about {tag} and want to know more.",
    "Does anybody here know a good book on {tag}?",
    "Three things that I learnt this week. The first is about {tag}.",
    "{tag} again, and I do not tire of it.",
    "On my way to meet the others. {tag}",
)


@lru_cache(maxsize=64)
def event_name(number: int) -> str:
    """The hashtag of an event; the same again after NAMES of them."""
    rest, first = divmod(number * APART % NAMES, len(FIRST))
    last, middle = divmod(rest, len(MIDDLE))
    return FIRST[first] + MIDDLE[middle] + LAST[last]


def invented(spellings: tuple[str, ...], person: int, saying: str) -> Shown:
    """What nobody said; there is nothing at its address."""
    first, last = FIRST_NAMES[person % 10], LAST_NAMES[person // 10 % 10]
    text = saying.format(tag=f"#{spellings[0]}")
    text = " ".join([text, *(f"#{spelling}" for spelling in spellings[1:])])
    return Shown(f"https://example.org/demo{person}", text, f"{first} {last}", f"demo{person}")
