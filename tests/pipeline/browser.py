"""Pages in a real browser: what they ask for, what they complain of, and whether they fit."""


class Visit:
    """A page that is open, with its requests and complaints."""

    def __init__(self, browser, address: str, width: int = 1200, **options: str) -> None:
        viewport = {"width": width, "height": 800}
        self.context = browser.new_context(viewport=viewport, **options)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    @property
    def fetched(self) -> list[str]:
        """Addresses asked for, without those that hold their own content."""
        return [url for url in self.requests if not url.startswith(("data:", "blob:", "about:"))]

    def framed(self, text: str, sandbox: str = "allow-scripts"):
        """Shows a page in a sandboxed frame of this one; returns the frame."""
        self.page.set_content(f'<iframe sandbox="{sandbox}" width="1000" height="3000"></iframe>')
        self.page.evaluate("text => { document.querySelector('iframe').srcdoc = text; }", text)
        frame = self.page.query_selector("iframe").content_frame()
        frame.wait_for_selector("footer, main")
        return frame
