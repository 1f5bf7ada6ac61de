"""A sentence that is told to people, who may read another language than English; pure."""


class Sentence(str):
    """In English, as it is said. It remembers of what it was made, by which it is found in another
    language (web/languages.py).

    >>> Sentence("There is nothing at {path}.", path="/x")
    'There is nothing at /x.'
    """

    form: str
    """With a {place} for each value."""
    values: dict[str, object]
    """By place; one may be a Sentence, too."""

    def __new__(cls, form: str, /, **values: object) -> "Sentence":
        made = super().__new__(cls, form.format(**values))
        made.form, made.values = form, values
        return made
