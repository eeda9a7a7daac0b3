"""A play as a Mermaid sequence diagram: who said what to whom, and what became final where."""

from tests.scenarios.play import Play
from tests.scenarios.words import letter


def diagram(play: Play) -> str:
    """After `perform`: the story it told."""
    title = play.head[0].lstrip("# ").rstrip(".") if play.head else play.path.stem
    lines = ["---", f"title: {title.replace(':', ' -')}", "---", "sequenceDiagram"]
    lines += [f"  participant {letter(node)}" for node in play.stage.ids]
    for each in play.story:
        text = each.text.replace(";", ",").replace("#", "")
        if each.to is None:
            lines.append(f"  Note over {letter(each.sender)}: {text}")
        lines += [f"  {letter(each.sender)}->>{letter(node)}: {text}" for node in each.to or ()]
    return "\n".join(lines) + "\n"
