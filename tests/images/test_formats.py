"""Stage 2, format by format: golden pictures whose pixels are known because they are made here."""

from __future__ import annotations

import base64
import io
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from crosslens.errors import ImageNotFoundError, ImageTooLargeError, UnreadableImageError
from crosslens.images.decode import Limits, decode
from crosslens.matching.matcher import Matcher

Pixels = NDArray[np.int64]
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)

# 48 × 32: red over blue on the left, green over grey on the right.
QUADRANTS = np.zeros((32, 48, 3), np.uint8)
QUADRANTS[:16, :32], QUADRANTS[:16, 32:], QUADRANTS[16:, :32], QUADRANTS[16:, 32:] = RED, GREEN, BLUE, 90
GREYS = np.linspace(0, 255, 256).reshape(16, 16)


def seen(source: Any, **options: Any) -> Pixels:
    image = decode(source, "picture", **options).image
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int64)


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def in_grey(values: NDArray[Any]) -> Pixels:
    return np.rint(values).astype(np.int64)[:, :, None].repeat(3, axis=2)


# ---------------------------------------------------------------- files written byte by byte


def png(values: NDArray[Any], kind: int, depth: int, clear: bytes = b"", **chunks: bytes) -> bytes:
    """A PNG of any colour type and depth: values (h, w) or (h, w, channels), as the file is to hold them."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    flat = values.reshape(height, -1)
    bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    body = b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    body += chunk(b"tRNS", clear) if clear else b""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(values: NDArray[Any], photometric: int = 1, sample_format: int = 1, depth: int = 0) -> bytes:
    """An uncompressed little-endian TIFF of one strip. values: (h, w) or (h, w, channels)."""
    height, width, *channels = values.shape
    number = channels[0] if channels else 1
    data = values.tobytes()
    bits = depth or 8 * values.itemsize
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, number, 0),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 0),
        (277, 3, 1, number),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
        (339, 3, number, 0),
    ]
    if number in (2, 4) and photometric in (1, 2):
        tags.insert(-1, (338, 3, 1, 2))
    start = 8 + 2 + 12 * len(tags) + 4
    lists = {258: struct.pack(f"<{number}H", *[bits] * number),
             339: struct.pack(f"<{number}H", *[sample_format] * number)}  # fmt: skip
    entries, extra = b"", b""
    for tag, kind, count, value in tags:
        content = lists.get(tag, struct.pack("<H" if kind == 3 else "<I", value))
        if tag == 273:
            content = struct.pack(
                "<I", start + 2 * sum(len(body) for body in lists.values() if len(body) > 4) // 2
            )
        if len(content) > 4:
            extra += content
            content = struct.pack("<I", start + len(extra) - len(content))
        entries += struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + extra + data


# Written by x265 through pillow-heif 1.4 at quality 90, for nothing here writes HEIC: 96 × 64, red over blue
# on the left, green over grey on the right (transparent in "alpha"; "turned" is stored on its side).
# zlib, base 85.
HEIC = {
    "plain": (
        "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>UfiWyMwIq=N0u(b+a*CjAhJwuG5(YG&l$nzcHpIn&fe{FSfUycf16j&ILOC-tFAc"
        "&4Vo@L`l?lqrC`&d3G5HEIOLE~#u4NV!6#(h&nFY!DK)M2`%$boHBs2l6NbUo}pT9qTFfi~lCjfOwI56@s{{IhBzzkBs3_^0dm"
        ">d#;lG;v;jA$|o3>sOdz4Fvtm&YW<!vPXH0U|gYl7Q;jT^J7*ZBTLmS|gmCpHq~VoKpc5=4D`O01Am@78j&KeVzcsAY}ptnH8B"
        "J0cH*kplJ-^nFYD9-~)yTOCu9A3y`Iqo013&Jw|yA#`SC#kDu?i_x+b%{r~@`z2yu4edE*G$9paQ@r!Wff1w@!|35ZrioJ32O-"
        "SY*C$q@oj`EzYRtAC3?G8vco?<lUdNo0P>ovchi{?L#@om^uXIQhp=zX3{Z~WFZa_`Q6Yki-"
        "$U*JyPnzh#^djGwvqLlu6b@ry02Kz&$y$)0^ow!2c+>Z}ZF)@A%g%tmOkE#Ew{OSL{%iq5G%zN{*^Ty+ZC6D-L9IU#}-"
        "&;KEl6~=;C0}MZcFNt3Ial@l_eC8QhC||SquVMJf9w2DemC3a{I*q_Tz!r=FY%O%Ncem=>EqNT{y+PVudbUN<$n74HL=70$`4i"
        "8D!sU<aDP($<)31|<~o_StImB;wqS{epi*PwEZ2X=f;l@D?r@$sjl*QZM(h6(0Ap9);s"
    ),
    "turned": (
        "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>UfpKAOYDppk1Sn>t<P<^K3<a6VB@Af5Br_);Y>0~k0}}%yh{bpmLIc4HpcoJ^<-"
        "$c&fY>54GcOIy1Ida4IjLY}Ks6a<$%YI_f{Y*~t`(VJ<$ML1CAkbxl?)Fu3yKPW^nuKR<a{7q0o3cv$P5yi09GXTf#J{JA3qov"
        "_?Z)cIwTwzc^Loy2Pt3%sbB^nxm`>Si9kthCq_mznFR`st<zq4YOc#;lH%b237r5D91cl9_3SQ;2a7f+IRLE@PR`FM%1h3v01E"
        "Rmur&aML^6vDQlTCODM<igfr8A6OppLG2M5qJ2F}c){1Tu|3=)|Ixv=17WME`%WMXD%1+t|wi&E2|;(W;|#mV6C1^N6+Zb~93B"
        "9>?{u4l7|`tv*d<M#dk|4&)C|Nn0pi=3eU<v~^PuQ<<b{=IJV#u@(}>VMof@uysU=C5N*m4C|3@BDrDRsHiP$1a5a*t_9S-"
        "8L_&&6B<-^vyV|yFTz_w^6&S9s4Gsw_y!Ai#Nv3mRqxRiu{4j-"
        "aH$n0}Gx9y!qR}Bb9pate5tRhbNyt2nu^sv$A{DD!=3V656*$P2M-"
        "J@of0_?+Y}i3M6?&+bS;PJOFej8zcgKeHpZXJPrm%Mj=ob1O37V@g4vgVyp!"
    ),
    "ten bits": (
        "c-muNV30{GsVvAy&8%Pmg51nBLl8SRGck>UfiXBYwIq=N0u(b+a*CjAhJwuG5(YG&l$n#C3}U!AFfalk5HOZQXdrL}V&%-"
        "tyfiQmBq|Ezq%uKy8D+_aASPcyW=Sqw$>q#~q5>ejC9@zoA4r!1l{quAZ~&QecYqYhePH<W_t!5527cxQpbl{dMjpoh|3M0v!7"
        "7-"
        "6N_H_hBm(6$ofsKWB^DSovfRvDGHKSc2Z{?0G%zsmG=L;pl7On&T^J7*ZBTLm+98~rpHq~VoKpc5=4D_5s$mexEG|fedMp8mLC"
        "ORQGAlAc0?b@oTtG@Zvmh51cEI3ZX=Gw%0Wy7aQxZWz=cvKBp3Nfa&tLPOlg$7BKP@lU{`<bssvqW&^%Gcq`hQ06{Qti<*ZSRz"
        "WB-4d*8l&$`S$<cpOtqp_e%f&$-guC+MNyn3`1-="
    ),
    "alpha": (
        "c-"
        "muNV30{GsVvAy%}izhg51nBLl8SRGck>Ufyp&DwIq=N0u(b+a*CjAhJwuG5(YG2l9`haHpIn&fr)_;#A3>X&<qTW%0Mw7VD5p5"
        "FvtP1MP_DR8kh%?6$Nrq!ODPYGRl$-"
        "8Bhe75Q2OKnI*XlP?d}=nFU1!Ksqk7AUPi>RsmGz%*YHBVweE2>I1`{zdwF3Fz_=c0Ch+>F!C_|{|{2Y3{t@iLUOy991?+&+D?"
        "p&Xfg{78d;~k^3+_H$0WtW0TMa^A~+n9fa=*@7!MY0P;vlTBb=O{Q<RsSQvnp_WngOn3W;PE7o<WxoB+fiWda466`A0`;NSq7#"
        "!v)yE(?e`{|C&ue-O?Uhd7r7Y%@p&&{Z(kssUY#DskWti&*qZm1R3OC;$bRK?H*$nnU?uE?@*%s-"
        "9R{;SA!H7Ufyx7Nn+IWu%rRTNxP`npy#+GE=O;VJ??hkPAx;!1!fpWMXDvU}9-yW@`tENM#nKra@)-"
        "fVy(PX#f;Ep1CQBz{J8Rufe#U&EoO%{r0~9(yRaf|FpM!;lFQuTKjmf#Xo)#uKX{w<NyE1MoqCdPQD4r+~Z^xdE8N+)78o#@VV"
        "Uq>Bdux23@ZvsBgXI_jA$wr!l?_yXp*U_7}a+lj)7$x<>BZ`ERZ7^Y#ne>07h*+C=ZacU6?qU$4&I^wMB|sI=FC%B2%mNSyoeK"
        "`JK3Z=sOl-|sQ?f0aM||9AP@SD$%res<n?oUr5(|BQoG_xXE^XI-"
        "){ezWAu498Bn+cD>=zW=_cqrz}V{B3kwh2n3W|H<!W`<&mlYLlza@#ZC-auEri?<Remy2Sry|MAszv!mQkKffk+_+R;<3R|TY7"
        "ZvVLs=xeG?AKf;({|Ol56TuS@eovMY@Fr#&sZ>L$HE=X6Q^;QOxS4sKLQkp8jS0B3QAd@?*C96q<M3>+y74<dqeC0)aO3{0PwX"
        "M4g"
    ),
}


def heic(name: str) -> bytes:
    return zlib.decompress(base64.b85decode(HEIC[name]))


# ---------------------------------------------------------------- depths and modes


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_png_of_every_depth_is_scaled_to_eight_bits(depth: int) -> None:
    white = 2**depth - 1
    values = np.rint(GREYS / 255 * white).astype(np.int64)
    assert np.array_equal(seen(png(values, 0, depth)), in_grey(values / white * 255))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_declared_transparent_shows_white_at_every_depth(depth: int) -> None:
    values = np.array([[0, 1], [2**depth - 1, 0]])
    shown = [[255, 255 / (2**depth - 1)], [255, 255]]
    assert np.array_equal(seen(png(values, 0, depth, clear=b"\0\0")), in_grey(np.array(shown)))


@pytest.mark.parametrize("depth", [8, 16])
def test_a_colour_declared_transparent_shows_white_at_every_depth(depth: int) -> None:
    scale = 257 if depth == 16 else 1
    values = np.array([[RED, (1, 2, 3)], [BLUE, (1, 2, 3)]]) * scale
    clear = struct.pack(">3H", *(scale * part for part in (1, 2, 3)))
    shown = [[RED, WHITE], [BLUE, WHITE]]
    assert np.array_equal(seen(png(values, 2, depth, clear=clear)), np.array(shown))


def test_sixteen_bits_of_colour_are_scaled_to_eight_within_one_level() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3))
    assert (
        np.abs(seen(png(values, 2, 16)) - np.rint(values / 257)).max() <= 1
    )  # Pillow cuts, it does not round
    assert np.abs(seen(tiff(values.astype("<u2"), 2)) - np.rint(values / 257)).max() <= 1


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", [4, 6], ids=["grey", "colour"])
def test_transparency_is_mixed_with_white_at_every_depth(kind: int, depth: int) -> None:
    colour = [0] if kind == 4 else [255, 0, 0]
    values = np.array([[[*colour, alpha] for alpha in (0, 51, 255)]]) * (257 if depth == 16 else 1)
    shown = [[WHITE, (204,) * 3, BLACK]] if kind == 4 else [[WHITE, (255, 204, 204), RED]]
    assert np.array_equal(seen(png(values, kind, depth)), np.array(shown))
    if kind == 6:
        assert np.array_equal(seen(tiff(values.astype("u1" if depth == 8 else "<u2"), 2)), np.array(shown))


def test_a_palette_with_transparency_is_mixed_with_white() -> None:
    palette = bytes([*RED, *BLUE, *GREEN])
    values = np.array([[0, 1, 2, 0]])
    shown = [[(255, 204, 204), BLUE, WHITE, (255, 204, 204)]]
    assert np.array_equal(seen(png(values, 3, 2, clear=bytes([51, 255, 0]), PLTE=palette)), np.array(shown))


@pytest.mark.parametrize(
    ("kind", "white"),
    [("<u2", 65535), ("<u4", 255), ("<u4", 65535), ("<u4", 2**32 - 1), ("<i4", 65535), ("<i4", 2**31 - 1)],
)
def test_grey_tiff_of_every_length_is_scaled_to_its_white(kind: str, white: int) -> None:
    values = np.rint(GREYS / 255 * white).astype(kind)
    data = tiff(values, sample_format=2 if "i" in kind else 1)
    assert np.array_equal(seen(data), in_grey(GREYS))


@pytest.mark.parametrize("white", [1, 255, 65535, 1e6])
def test_grey_tiff_of_floating_point_is_scaled_to_its_white(white: float) -> None:
    values = (GREYS / 255 * white).astype("<f4")
    assert np.abs(seen(tiff(values, sample_format=3)) - in_grey(GREYS)).max() <= (0 if white != 65535 else 1)


def test_what_is_no_number_is_black_and_what_is_infinite_white() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 1, 0.2]], "<f4")
    assert seen(tiff(values, sample_format=3))[0, :, 0].tolist() == [0, 255, 0, 255, 51]


@pytest.mark.parametrize("kind", ["u1", "<u2"])
def test_a_tiff_whose_zero_is_white_is_turned_over(kind: str) -> None:
    values = (GREYS * (257 if kind == "<u2" else 1)).astype(kind)
    assert np.array_equal(seen(tiff(values, photometric=0)), in_grey(255 - GREYS))


def test_twelve_bit_tiff_is_scaled_to_eight_bits() -> None:
    values = np.rint(GREYS / 255 * 4095).astype(np.int64)
    nibbles = ((values.reshape(16, -1)[:, :, None] >> np.arange(11, -1, -1)) & 1).reshape(16, -1)
    packed = np.packbits(nibbles.astype(np.uint8), axis=1)
    data = bytearray(tiff(packed, depth=12))
    data = data.replace(struct.pack("<HHII", 256, 4, 1, 24), struct.pack("<HHII", 256, 4, 1, 16))
    assert np.array_equal(seen(bytes(data)), in_grey(GREYS))


def test_a_dark_deep_pgm_stays_dark() -> None:
    assert np.array_equal(seen(b"P5 2 1 65535\n" + struct.pack(">2H", 0, 200)), in_grey(np.array([[0, 1]])))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"P1 2 1\n1 0", [BLACK, WHITE]),
        (b"P4 2 1\n\x80", [BLACK, WHITE]),
        (b"P2 2 1 10\n5 10", [(128,) * 3, WHITE]),
        (b"P3 2 1 255\n255 0 0 0 0 255", [RED, BLUE]),
        (b"P6 2 1 255\n" + bytes([*RED, *BLUE]), [RED, BLUE]),
    ],
)
def test_every_kind_of_pnm(data: bytes, shown: list[tuple[int, ...]]) -> None:
    assert np.abs(seen(data) - np.array([shown])).max() <= 1


def test_a_picture_in_lab_has_its_colours() -> None:
    lab = np.array([[(255, 0, 0), (0, 0, 0), (137, 81, 70)]], np.uint8)  # L 0…255, a and b signed
    shown = seen(tiff(lab, photometric=8))
    assert np.abs(shown - np.array([[WHITE, BLACK, RED]])).max() <= 8


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_pictures_in_luma_and_chroma_have_their_colours(format: str) -> None:  # noqa: A002
    image = Image.fromarray(QUADRANTS).convert("YCbCr")
    data = saved(image, format, **({"quality": 95, "subsampling": 0} if format == "JPEG" else {}))
    assert np.abs(seen(data) - QUADRANTS).max() <= 6


def test_inks_are_read_as_adobe_writes_them_with_its_marker_or_without() -> None:
    inverted = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)  # 255 is no ink
    assert b"Adobe" in inverted
    marker = inverted.index(b"\xff\xee")
    length = 2 + int.from_bytes(inverted[marker + 2 : marker + 4])
    for data in (inverted, inverted[:marker] + inverted[marker + length :]):
        assert np.abs(seen(data) - RED).max() <= 4


LOSSY: dict[str, tuple[dict[str, Any], int]] = {
    "JPEG": ({"quality": 95, "subsampling": 0}, 6),
    "WEBP": ({"quality": 95}, 4),
    "AVIF": ({"quality": 95, "subsampling": "4:4:4"}, 6),
    "JPEG2000": ({}, 0),
    "PNG": ({}, 0),
    "GIF": ({}, 0),
    "BMP": ({}, 0),
    "TIFF": ({}, 0),
    "PPM": ({}, 0),
}


@pytest.mark.parametrize("format", LOSSY)
def test_a_golden_picture_of_each_format(format: str) -> None:  # noqa: A002
    options, tolerance = LOSSY[format]
    shown = seen(saved(Image.fromarray(QUADRANTS), format, **options))
    inside = np.ix_([*range(4, 12), *range(20, 28)], [*range(4, 28), *range(36, 44)])  # of each colour
    assert np.abs(shown - QUADRANTS)[inside].max() <= tolerance
    assert np.abs(shown - QUADRANTS).mean() <= 5  # edges too, where WebP halves the chroma


# ---------------------------------------------------------------- HEIC


@pytest.mark.parametrize("name", ["plain", "turned", "ten bits"])
def test_heic_has_its_colours_the_right_way_up(name: str) -> None:
    decoded = decode(heic(name), "picture")
    assert (decoded.width, decoded.height) == (96, 64)
    assert np.abs(seen(heic(name)) - QUADRANTS.repeat(2, axis=0).repeat(2, axis=1)).max() <= 3


def test_transparency_of_heic_shows_white() -> None:
    shown = QUADRANTS.repeat(2, axis=0).repeat(2, axis=1)
    shown[:, 64:] = 255
    assert np.abs(seen(heic("alpha")) - shown).max() <= 3


def test_heic_keeps_our_limits_and_is_not_registered_with_pillow() -> None:
    with pytest.raises(ImageTooLargeError, match="96 × 64 pixels"):
        decode(heic("plain"), "picture", limits=Limits(max_pixels=6143))
    assert "HEIF" not in Image.OPEN


# ---------------------------------------------------------------- colour profiles


def s15(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of a display, version 2.4."""
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + s15(0.9642, 1, 0.8249) + bytes(48)
    return head + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + s15(*values)


def description(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)


# The curve of sRGB, which Display P3 shares.
CURVE = b"para\0\0\0\0\0\3\0\0" + s15(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
COMMON = {b"desc": description(b"made by a test"), b"wtpt": xyz(0.9642, 1, 0.8249)}
DISPLAY_P3 = profile(b"RGB ", COMMON | {
    b"rXYZ": xyz(0.51512, 0.2412, -0.00105), b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
    b"bXYZ": xyz(0.1571, 0.06657, 0.78407), b"rTRC": CURVE, b"gTRC": CURVE, b"bTRC": CURVE,
})  # fmt: skip
LINEAR_GREY = profile(b"GRAY", COMMON | {b"kTRC": b"curv\0\0\0\0\0\0\0\0"})
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

COLOURS = np.array([[(200, 60, 60), (90, 160, 90), (40, 60, 180), WHITE, BLACK, (120, 120, 120)]], np.uint8)


def encoded(linear: NDArray[Any]) -> NDArray[Any]:
    """The curve of sRGB: light in [0, 1] → 0…255."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def from_display_p3(pixels: NDArray[Any]) -> NDArray[Any]:
    """By the matrix of CSS Color 4."""
    parts = pixels / 255
    light = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    matrix = [[1.2249401, -0.2249402, 0], [-0.0420569, 1.0420571, 0], [-0.0196376, -0.0786507, 1.0982884]]
    return encoded(light @ np.array(matrix).T)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_colours_of_display_p3_become_those_of_srgb(format: str) -> None:  # noqa: A002
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(Image.fromarray(COLOURS), format, icc_profile=DISPLAY_P3, **options)
    assert np.abs(seen(data) - from_display_p3(COLOURS)).max() <= 1.5


@pytest.mark.parametrize("format", ["JPEG", "AVIF"])
def test_colours_of_display_p3_become_those_of_srgb_in_lossy_files(format: str) -> None:  # noqa: A002
    large = COLOURS.repeat(64, axis=0).repeat(64, axis=1)
    data = saved(Image.fromarray(large), format, icc_profile=DISPLAY_P3, quality=97)
    middles = seen(data)[32, 32::64]
    assert np.abs(middles - from_display_p3(COLOURS)[0]).max() <= 4


def test_a_profile_holds_for_a_reduced_jpeg_which_keeps_the_target_size() -> None:
    large = Image.fromarray(COLOURS.repeat(600, axis=0).repeat(150, axis=1))
    with_profile = saved(large, "JPEG", icc_profile=DISPLAY_P3, quality=97)
    reduced = decode(with_profile, "picture", shrink_to=100)
    assert reduced.image.size == (225, 150)
    assert (reduced.width, reduced.height) == (900, 600)
    middles = np.asarray(reduced.image)[75, 18::38]
    assert np.abs(middles - from_display_p3(COLOURS)[0]).max() <= 4
    for without in (saved(large, "JPEG", quality=97), saved(large, "JPEG", icc_profile=SRGB, quality=97)):
        assert decode(without, "picture", shrink_to=100).image.size == (450, 300)


def test_a_profile_and_transparency_go_together() -> None:
    image = Image.fromarray(COLOURS)
    image.putalpha(Image.fromarray(np.array([[51, 255, 255, 255, 255, 0]], np.uint8)))
    shown = from_display_p3(COLOURS)
    shown[0, 0], shown[0, 5] = 0.8 * 255 + 0.2 * shown[0, 0], 255
    assert np.abs(seen(saved(image, icc_profile=DISPLAY_P3)) - shown).max() <= 1.5


@pytest.mark.parametrize("depth", [8, 16])
def test_greys_have_profiles_too(depth: int) -> None:
    deep = GREYS * 257 if depth == 16 else GREYS
    values = deep.astype(np.uint16 if depth == 16 else np.uint8)
    shown = seen(saved(Image.fromarray(values), icc_profile=LINEAR_GREY))
    assert np.abs(shown - encoded(GREYS / 255)[:, :, None]).max() <= 1.5
    both = Image.merge("LA", [Image.fromarray(GREYS.astype(np.uint8)), Image.new("L", (16, 16), 255)])
    assert np.array_equal(seen(saved(both, icc_profile=LINEAR_GREY)), shown)


def test_a_palette_has_a_profile_too() -> None:
    image = Image.new("P", (6, 1))
    image.putpalette(COLOURS.ravel().tolist())
    image.putdata(range(6))
    assert np.abs(seen(saved(image, icc_profile=DISPLAY_P3)) - from_display_p3(COLOURS)).max() <= 1.5


@pytest.mark.parametrize(
    "useless",
    [SRGB, b"", b"garbage", DISPLAY_P3[:200], DISPLAY_P3[:-60], LINEAR_GREY, DISPLAY_P3 + bytes(5 << 20)],
    ids=["sRGB", "empty", "garbage", "cut", "curve cut", "of another space", "huge"],
)
def test_a_profile_that_says_nothing_or_is_broken_leaves_the_pixels(useless: bytes) -> None:
    data = saved(Image.fromarray(COLOURS), "TIFF", icc_profile=useless)
    assert np.array_equal(seen(data), COLOURS)


def test_an_open_picture_with_a_profile_is_left_as_its_owner_had_it() -> None:
    mine = Image.open(io.BytesIO(saved(Image.fromarray(COLOURS), icc_profile=DISPLAY_P3)))
    assert np.abs(seen(mine) - from_display_p3(COLOURS)).max() <= 1.5
    assert np.array_equal(np.asarray(mine), COLOURS)
    assert mine.info["icc_profile"] == DISPLAY_P3


def test_many_threads_share_a_transform() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), icc_profile=DISPLAY_P3, compress_level=1)
    alone, together = seen(data), []
    threads = [threading.Thread(target=lambda: together.append(seen(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == 8
    assert all(np.array_equal(alone, other) for other in together)


# ---------------------------------------------------------------- inputs

DATA = saved(Image.fromarray(QUADRANTS))
BASE64 = base64.b64encode(DATA).decode()


class Dripping(io.RawIOBase):
    """A file that hands out seven bytes at a time, like a socket."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.inner.read(min(size, 7) if size >= 0 else 7)


SOURCES: dict[str, Callable[[], Any]] = {
    "data URI": lambda: f"data:image/png;base64,{BASE64}",
    "data URI in capitals": lambda: f"DATA:IMAGE/PNG;BASE64,{BASE64}",
    "data URI without a type": lambda: f"data:;base64,{BASE64}",
    "data URI with parameters": lambda: f"data:image/png;name=a.png;base64,{BASE64}",
    "data URI with escaped base64": lambda: "data:;base64," + BASE64.replace("+", "%2B").replace("=", "%3D"),
    "data URI, percent-encoded": lambda: "data:image/png," + "".join(f"%{byte:02x}" for byte in DATA),
    "base64": lambda: BASE64,
    "base64 in lines": lambda: base64.encodebytes(DATA).decode(),
    "base64 for URLs": lambda: base64.urlsafe_b64encode(DATA).decode().rstrip("="),
    "bytearray": lambda: bytearray(DATA),
    "memoryview": lambda: memoryview(DATA),
    "a view with steps": lambda: memoryview(b"".join(bytes([byte, 0]) for byte in DATA))[::2],
    "file": lambda: io.BytesIO(DATA),
    "dripping file": lambda: Dripping(DATA),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_input_is_the_same_picture(kind: str) -> None:
    assert np.array_equal(seen(SOURCES[kind]()), QUADRANTS)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_byte_limit_holds_for_every_kind_of_input(kind: str) -> None:
    with pytest.raises(ImageTooLargeError, match="bytes are more than the limit of"):
        decode(SOURCES[kind](), "picture", limits=Limits(max_bytes=len(DATA) - 1))
    assert decode(SOURCES[kind](), "picture", limits=Limits(max_bytes=len(DATA))).width == 48


def test_a_file_is_read_from_where_it_stands_no_further_than_the_limit() -> None:
    file = io.BytesIO(b"before" + DATA)
    file.seek(6)
    assert decode(file, "picture").width == 48
    assert file.tell() == 6 + len(DATA)
    endless = io.BytesIO(bytes(10_000))
    with pytest.raises(ImageTooLargeError):
        decode(endless, "picture", limits=Limits(max_bytes=100))
    assert endless.tell() == 101


def test_an_open_file_on_the_disk_is_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(DATA)
    with (tmp_path / "a.png").open("rb") as file:
        assert np.array_equal(seen(file), QUADRANTS)
    with pytest.raises(UnreadableImageError, match=r"^upload: the file cannot be read .*closed file"):
        decode(file, "upload")


def test_a_file_opened_as_text_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match=r"^upload: reading it gives str, not bytes.*rb"):
        decode(io.StringIO("text"), "upload")  # type: ignore[arg-type]


def test_a_path_that_looks_like_base64_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = base64.b64encode(b"GIF89a picture").decode()
    (tmp_path / name).write_bytes(DATA)
    assert np.array_equal(seen(name), QUADRANTS)


@pytest.mark.parametrize("text", ["gone.png", "gone", "aGVsbG8gd29ybGQ=", "iVBORw0KGgo=/../é", "", "a\nb"])
def test_a_text_that_is_no_picture_is_a_path(text: str) -> None:
    with pytest.raises(ImageNotFoundError, match="no such file") as caught:
        decode(text, text)
    assert caught.value.source == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data:text/plain,hello%20you" + "!" * 100, "known format"),
        ("data:image/png;base64,!!!!" + "A" * 100, "data URI cannot be decoded"),
        ("data:image/png;base64,\udcff" + "A" * 100, "data URI cannot be decoded"),
        ("data:image/png;base64,", "the file is empty"),
        (f"data:image/png;base64,{BASE64[:80]}", "damaged or truncated"),
        (BASE64[:80], "damaged or truncated"),
        ("A" * 5000, "cannot be read"),
    ],
)
def test_errors_show_only_how_a_written_picture_begins(text: str, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        decode(text, text)
    assert caught.value.source == f"{text[:39]}…"
    assert len(str(caught.value)) < 200


def test_what_is_no_picture_says_what_would_be() -> None:
    with pytest.raises(UnreadableImageError, match=r"int is no picture\. Wanted: a path, a data URI, base64"):
        decode(7, "picture")  # type: ignore[arg-type]


def test_a_matcher_embeds_every_kind_of_input(fake: Matcher) -> None:
    vectors = fake.embed_images([make() for make in SOURCES.values()])
    assert np.allclose(vectors, fake.embed_images([DATA]))
