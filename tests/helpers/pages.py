"""The page, read as a browser does."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "path", "rect", "input"}


class Reader(HTMLParser):
    """Tags opened and closed, targets of links, identifiers, and images without a text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.targets, self.names, self.mute = [], [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.targets += [values[name] for name in ("href", "src") if name in values]
        self.names.add(values.get("id"))
        if tag == "img" and not values.get("alt"):
            self.mute.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
