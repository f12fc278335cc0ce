"""Probe texts for checking a model where the user gives none: many subjects, lengths and forms."""

from __future__ import annotations

_ENGLISH = """
a dog
a cat asleep on a windowsill
two dogs playing with a stick on the beach
a brown horse in a field of tall grass
a flock of birds over the sea at sunset
a goldfish in a glass bowl
an elephant drinking from a river
three sheep and a lamb
a spider's web with drops of dew
a butterfly on a purple flower
a person
a man in a suit
a woman reading a book under a tree
a child blowing out the candles of a birthday cake
a crowd at a concert, seen from the stage
an old couple on a park bench
a portrait of a smiling girl
hands holding a cup of coffee
a chef cutting vegetables
a runner crossing the finishing line with her arms in the air
a group of friends around a campfire
a bride and groom
a baby with a teddy bear
a firefighter climbing a ladder
a street musician playing the violin in the rain
a red car
a yellow taxi in a busy street
a bicycle leaning against a brick wall
a steam train crossing a viaduct
an aeroplane taking off
a sailing boat near a lighthouse
a motorbike on a mountain road
a row of parked lorries
an empty underground station
a bridge at night
a house
a kitchen with white cupboards and a wooden table
a bedroom with an unmade bed
a staircase seen from below
a church with two towers
the ruins of a castle on a hill
a skyscraper with a glass front reflecting the clouds
a market stall selling fruit and vegetables
a library full of old books
a swimming pool seen from above
a factory chimney with smoke
a wooden door with a rusty lock
a beach
a snow-covered mountain under a clear blue sky
a waterfall in a forest
a desert with sand dunes and a line of camels
a path through a field of sunflowers
a lake with the reflection of trees in autumn colours
lightning over a city
a full moon behind bare branches
a rainbow after a storm
fog in a valley early in the morning
waves breaking on rocks
a frozen river
a cactus in a pot
a red rose
a bouquet of wild flowers in a glass vase
mushrooms on a fallen tree
an apple and two pears on a plate
a slice of pizza
a bowl of noodle soup with an egg
a cup of tea and a croissant
sushi on a wooden board
a hamburger with chips
a chocolate cake with strawberries
a glass of red wine
bread in a baker's window
a football match
a tennis player serving
a skateboarder jumping over a set of stairs
a surfer riding a large wave
people skiing down a slope
two boxers in a ring
a chess board in the middle of a game
a boy kicking a ball against a wall
a laptop on a desk
an old typewriter
a mobile telephone with a cracked screen
a clock that shows ten past ten
a guitar leaning on a chair
a pair of worn leather boots
a stack of newspapers tied with string
a red umbrella in a grey crowd
a pile of coins
a toy robot
a traffic light showing green
a stop sign
graffiti on a wall
a page of handwritten notes
a map of the world
a diagram with arrows and boxes
a bar chart
a screenshot of a program
an X-ray of a hand
a painting of a woman with a pearl earring
a black and white photograph of a street in the rain
a close-up of an eye
an aerial photograph of fields
a blurred photograph of lights at night
a cartoon of a mouse
a stone statue without arms
a drawing by a child in crayons
a satellite image of a hurricane
something red
blue
nothing but white
the colour green on the left and yellow on the right
happiness
a photo of a birthday party in a garden
a low-resolution photo of a cat
a photograph taken through a wet window, with the lights of passing cars out of focus behind the drops
an overcrowded harbour with fishing boats in every colour, nets drying on the quay, and gulls on every mast
a woman in a yellow raincoat pushing a pram past a shop that sells clocks, while a man cleans its sign
"""

_OTHERS = """
ein Hund am Strand
zwei Kinder bauen einen Schneemann
une tasse de café sur une table en bois
un marché aux fleurs dans une petite ville
un gato negro sobre un tejado
dos personas en bicicleta junto al mar
una strada stretta con panni stesi
um barco no rio ao pôr do sol
een rode fiets tegen een muur
en hund i snön
собака на пляже
красная машина перед домом
沙滩上的一只狗
一杯咖啡放在木桌上
下雨的街道上撑着红伞的女人
雪山下的湖
两个孩子在踢足球
夜晚的城市
海辺を走る犬
赤い傘を持った女性
눈 덮인 산
كلب على الشاطئ
समुद्र तट पर एक कुत्ता
σκύλος στην παραλία
"""

ENGLISH = tuple(_ENGLISH.strip().splitlines())
OTHERS = tuple(_OTHERS.strip().splitlines())


def captions(scripts: tuple[str, ...]) -> tuple[str, ...]:
    """Texts for a model; in English alone for one that was trained on some scripts only."""
    return ENGLISH if scripts else ENGLISH + OTHERS


_TEMPLATES = (
    *("{}", "a photo of {}", "a close-up of {}", "a drawing of {}", "a blurry photo of {}"),
    *("my picture of {}", "{} at night", "{} in the snow", "an old photograph of {}"),
)
# Over a thousand, for measuring: what people look for lies elsewhere than the pictures.
PROBES = tuple(template.format(text) for template in _TEMPLATES for text in ENGLISH)
