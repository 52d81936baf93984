"""What a step may say about the content it acts for: the placeholders of commands, bodies, headers and addresses."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """The content that the app is notified of. `hash`: its hex digest. `candidate`: the folder that holds it."""

    hash: str
    candidate: str

    def fill(self, text: str) -> str:
        """Replace `{hash}` and `{candidate}`; any other brace stays as it is (JSON bodies, awk)."""
        return text.replace("{hash}", self.hash).replace("{candidate}", self.candidate)
