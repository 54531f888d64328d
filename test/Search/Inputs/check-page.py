"""Fails if a page of HTML asks for anything beside it, or has tags that do not match: check-page.py PAGE"""
import html.parser
import sys



class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href") or "url(" in (value or "") or "//" in (value or ""):
                sys.exit(f"<{tag}> asks for {value}")
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            sys.exit(f"</{tag}> closes nothing, line {self.getpos()[0]}")


page = Page()
with open(sys.argv[1]) as f:
    page.feed(f.read())
page.close()
if page.open:
    sys.exit(f"left open: {page.open}")
