"""plot.py POINTS: cost against size as SVG, both axes logarithmic. A line of POINTS is: MB, ms of the limit, ms of ingot."""
import math
import sys

points = [[float(number) for number in line.split()] for line in open(sys.argv[1])]
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 400, 60, 50
lowest = 10 ** math.floor(math.log10(min(min(point[1:]) for point in points)))
highest = 10 ** math.ceil(math.log10(max(max(point[1:]) for point in points)))


def x(size):
    return LEFT + math.log10(size / 10) / math.log10(1000) * (WIDTH - LEFT - 30)


def y(time):
    return HEIGHT - BOTTOM - math.log10(time / lowest) / math.log10(highest / lowest) * (HEIGHT - BOTTOM - 30)


print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">')
print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
for size in (10, 100, 1000, 10000):
    print(f'<path d="M{x(size):.0f},{y(lowest):.0f} V30" stroke="#ddd"/>')
    print(f'<text x="{x(size):.0f}" y="{HEIGHT - 30}" text-anchor="middle">{size} MB</text>')
time = lowest
while time <= highest:
    print(f'<path d="M{LEFT},{y(time):.0f} H{WIDTH - 30}" stroke="#ddd"/>')
    print(f'<text x="{LEFT - 6}" y="{y(time) + 4:.0f}" text-anchor="end">{time / 1000:g} s</text>')
    time *= 10
for column, colour, name in ((1, "#888", "the limit: inflate and hash"), (2, "#c40", "ingot, cold, to a layout")):
    line = " ".join(f"{x(point[0]):.1f},{y(point[column]):.1f}" for point in points)
    print(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for point in points:
        print(f'<circle cx="{x(point[0]):.1f}" cy="{y(point[column]):.1f}" r="3" fill="{colour}"/>')
    print(f'<text x="{LEFT + 12}" y="{30 + column * 18}" fill="{colour}">{name}</text>')
print(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">wheels</text></svg>')
