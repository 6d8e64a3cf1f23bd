"""Ten digits as somebody might write them, as strokes of points from 0 to 100."""

from math import cos, pi, sin

from playwright.sync_api import Locator, Page


def _arc(cx, cy, rx, ry, start, end, points=14):
    """Part of an ellipse, in degrees from the right, clockwise on the screen."""
    angles = [(start + (end - start) * i / points) * pi / 180 for i in range(points + 1)]
    return [(cx + rx * cos(angle), cy + ry * sin(angle)) for angle in angles]


DIGITS = {
    0: [_arc(50, 50, 26, 40, -90, 270, 24)],
    1: [[(36, 26), (52, 10), (52, 90)]],
    2: [[*_arc(50, 32, 24, 22, -170, 30), (26, 90), (76, 90)]],
    3: [[*_arc(46, 30, 24, 20, -150, 90), *_arc(46, 70, 28, 20, -90, 150)]],
    4: [[(56, 10), (22, 62), (80, 62)], [(60, 30), (60, 92)]],
    5: [[(72, 12), (34, 12), (30, 46), *_arc(48, 66, 26, 24, -130, 140)]],
    6: [[(64, 10), (40, 36), *_arc(50, 66, 24, 24, -170, 190, 24)]],
    7: [[(24, 14), (76, 14), (44, 90)], [(36, 52), (66, 52)]],
    8: [[*_arc(50, 30, 20, 20, 90, 450, 20), *_arc(50, 70, 25, 20, -90, 270, 20)]],
    9: [[*_arc(48, 34, 22, 22, 0, -360, 24), (70, 34), (66, 90)]],
}


def draw(page: Page, canvas: Locator, strokes, *, width=1.0, dx=0.0, dy=0.0) -> None:
    """Draw with the mouse.

    Args:
        page: With the canvas.
        canvas: To draw on.
        strokes: Of points from 0 to 100.
        width: How wide against how it is written.
        dx: To the right, in hundredths of the canvas.
        dy: Down, likewise.
    """
    box = canvas.bounding_box()
    for stroke in strokes:
        points = [
            (
                box["x"] + box["width"] * (50 + (x - 50) * width + dx) / 100,
                box["y"] + box["height"] * (10 + y * 0.8 + dy) / 100,
            )
            for x, y in stroke
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()
