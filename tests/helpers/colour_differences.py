"""Differences of colours, to readers with normal vision and to those without green cones (deuteranopia)."""

import numpy as np

# Linear sRGB to CIE XYZ (IEC 61966-2-1), and the white point D65.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
# What readers see of linear sRGB: deuteranopia of severity 1 by Machado, Oliveira and Fernandes ("A
# physiologically-based model for simulation of color vision deficiency", 2009).
VISIONS = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def to_lab(colours, vision="normal"):
    """Return CIE L*a*b* (..., 3) of colours (..., 3) in sRGB from 0 to 1, as seen with a vision."""
    colours = np.asarray(colours, float)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ VISIONS[vision].T, 0, 1) @ TO_XYZ.T / WHITE
    x, y, z = np.moveaxis(
        np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29), -1, 0
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_difference(first, second):
    """Return CIEDE2000 of colours in CIE L*a*b* (Sharma, Wu and Dalal, 2005)."""
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(np.asarray(lab, float), -1, 0) for lab in (first, second))
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = np.where(c1 * c2 == 0, 0, (h2 - h1 + 180) % 360 - 180)
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    mean = h1 + h2
    mean = np.where(np.abs(h1 - h2) <= 180, mean / 2, np.where(mean < 360, mean / 2 + 180, mean / 2 - 180))
    mean = np.where(c1 * c2 == 0, h1 + h2, mean)
    cosines = [np.cos(np.radians(k * mean + angle)) for k, angle in ((1, -30), (2, 0), (3, 6), (4, -63))]
    weight = 1 + np.tensordot([-0.17, 0.24, 0.32, -0.20], cosines, 1)
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(
        np.radians(60 * np.exp(-(((mean - 275) / 25) ** 2)))
    )  # fmt: skip
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    dc, dh = (c2 - c1) / (1 + 0.045 * chroma), hue / (1 + 0.015 * chroma * weight)
    return np.sqrt(dl**2 + dc**2 + dh**2 + rotation * dc * dh)


def difference(first, second, vision="normal"):
    """Return CIEDE2000 of colours in sRGB from 0 to 1, as seen with a vision."""
    return lab_difference(to_lab(first, vision), to_lab(second, vision))


def least_difference(colours, vision="normal"):
    """Return the least difference between any two of some colours (n, 3)."""
    first, second = np.triu_indices(len(colours), 1)
    return difference(colours[first], colours[second], vision).min()
