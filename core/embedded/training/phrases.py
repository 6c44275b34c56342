"""The words of captions: several ways to say each fact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Phrases = Mapping[str, tuple[str, ...]]

OPENINGS: Final = (
    "a photo of", "a photograph of", "a picture of", "an image of", "a view of", "a wide view of",
    "a panorama of", "a panoramic view of", "a scenic view of", "a landscape with",
    "a wide landscape with", "a landscape of", "a render of", "a detailed picture of",
)  # fmt: skip
GENERIC: Final = (
    "a landscape", "landscape", "nature", "scenery", "a natural landscape", "the outdoors",
    "a beautiful landscape", "a scenic view", "a wide open landscape", "a panorama", "wilderness",
    "a view", "a beautiful place", "a wild landscape",
)  # fmt: skip
PRAISE: Final = (
    "beautiful", "stunning", "scenic", "breathtaking", "wild", "wide", "vast", "picturesque",
)  # fmt: skip
QUALITY: Final = (
    "highly detailed", "detailed", "realistic", "sharp", "high resolution", "4k", "8k",
    "wide angle", "cinematic", "masterpiece", "best quality", "photorealistic",
)  # fmt: skip

SUBJECTS: Final[Phrases] = {
    "sea": (
        "the sea", "the ocean", "a seascape", "a coast", "the coast", "a sea coast", "ocean waves",
        "a bay", "a shore by the sea", "the open sea", "blue water by the coast", "the coastline",
        "waves on the shore", "the sea shore", "an ocean view", "sea water",
    ),
    "cliffs": (
        "sea cliffs", "cliffs above the sea", "a rocky coast", "coastal cliffs", "a cliff coast",
        "a steep coast", "a cliff by the sea",
    ),
    "beach": (
        "a beach", "a sandy beach", "a sandy shore by the sea", "the seaside", "sand by the sea",
    ),
    "lake": (
        "a lake", "a calm lake", "lake water", "a lakeside", "a lake shore", "a wide lake",
        "still water", "a lake with calm water",
    ),
    "mountain lake": (
        "a mountain lake", "an alpine lake", "a lake below mountains", "a lake in the mountains",
        "mountains behind a lake", "a lake with mountains", "mountains and a lake",
        "a lake surrounded by mountains", "mountain peaks above a lake", "a lake",
        "a lake at the foot of mountains", "a valley with a lake",
    ),
    "forest lake": (
        "a forest lake", "a lake in the forest", "a lake with trees", "trees by a lake",
        "a lake surrounded by trees", "woods by a lake",
    ),
    "mountains": (
        "mountains", "a mountain range", "mountain peaks", "a mountain landscape", "high mountains",
        "rocky mountains", "tall mountains", "peaks", "a mountain valley", "the mountains",
        "a mountain", "the alps", "a mountain ridge", "summits", "a mountain peak",
        "a mountainous landscape", "an alpine landscape", "a rugged mountain range",
        "mountains and hills",
    ),
    "snowy peaks": (
        "snowy peaks", "snow-capped mountains", "mountains with snow", "snowy mountain peaks",
        "mountains", "snow on the peaks", "high snowy mountains", "a mountain range", "the alps",
        "white peaks", "snow-covered mountains", "a snowy summit",
    ),
    "snowy mountains": (
        "snowy mountains", "mountains in snow", "mountains in winter", "white mountains",
        "icy peaks", "a snowy mountain range", "mountains", "snow-covered mountains",
        "a mountain in winter",
    ),
    "volcano": (
        "a volcano", "a volcanic cone", "volcanoes", "a volcanic mountain", "a large volcano",
        "a volcanic landscape", "a volcano above the plain", "a stratovolcano", "a volcano crater",
    ),
    "lava field": (
        "a lava field", "a volcanic plain", "black volcanic ground", "volcanic land",
        "dark lava rock", "a volcanic landscape",
    ),
    "snow": (
        "a snowy landscape", "a winter landscape", "snowy hills", "snow", "a snow field",
        "a snow-covered landscape", "white hills", "winter", "fields of snow", "a wintry landscape",
        "a winter wonderland", "hills in the snow", "a white landscape", "the arctic",
    ),
    "snowy forest": (
        "a snowy forest", "a winter forest", "snow-covered trees", "fir trees in snow",
        "a forest in winter", "snowy woods", "snowy pine trees", "a forest in the snow",
        "a wintry forest", "snowy firs", "a winter wonderland",
    ),
    "autumn forest": (
        "an autumn forest", "a forest in autumn", "autumn woods", "a fall forest", "autumn trees",
        "trees in fall colours", "a forest of red and orange trees", "colourful autumn trees",
        "woods in autumn", "red and yellow trees", "autumn foliage", "a maple forest",
        "golden autumn leaves",
    ),
    "autumn trees": (
        "autumn trees", "an autumn landscape", "autumn fields", "hills in autumn",
        "trees in fall colours", "autumn countryside", "red and orange trees",
    ),
    "conifer forest": (
        "a forest", "a pine forest", "a fir forest", "fir trees", "pine trees", "evergreen trees",
        "conifers", "a dark forest", "woods", "a spruce forest", "an evergreen forest", "woodland",
        "pines", "firs", "a coniferous forest", "taiga", "a wooded hillside", "a northern forest",
        "many trees", "a forest of tall trees",
    ),
    "leafy forest": (
        "a forest", "a green forest", "woods", "a leafy forest", "green trees", "woodland",
        "leafy trees", "a dense forest", "a lush forest", "deciduous trees", "oak trees",
        "many trees", "a grove", "a wooded hillside",
    ),
    "savanna": (
        "a savanna", "the savannah", "dry grassland", "an african plain", "a savanna landscape",
        "golden grassland", "acacia savanna", "dry yellow grass", "a prairie", "a steppe",
        "dry plains", "african savanna",
    ),
    "terraces": (
        "rice terraces", "terraced fields", "terraced hills", "green terraces", "rice fields",
        "terraces on a hillside", "terraced farmland", "stepped fields", "paddy fields",
    ),
    "flooded terraces": (
        "flooded rice terraces", "rice paddies", "rice terraces", "flooded fields",
        "terraced rice fields", "terraces with water", "rice fields", "paddy fields",
    ),
    "canyon": (
        "a canyon", "red rocks", "a red rock desert", "a canyon landscape", "badlands",
        "a rocky desert", "red desert", "a desert canyon", "the wild west", "arid land",
    ),
    "mesas": (
        "a canyon", "mesas", "red rock cliffs", "table mountains", "canyon walls", "red mesas",
        "sandstone cliffs", "buttes in the desert", "a red rock canyon", "a canyon landscape",
        "a gorge", "the wild west", "rock towers", "a red desert with rocks", "a plateau",
    ),
    "dunes": (
        "a desert", "sand dunes", "desert dunes", "dunes", "a sandy desert", "dunes of sand",
        "a sea of sand", "a desert landscape", "the desert", "the sahara", "a dune",
        "endless dunes", "sandy hills", "arid land",
    ),
    "meadow": (
        "a meadow", "a green meadow", "grassland", "green hills", "grassy hills", "rolling hills",
        "a grassy field", "fields", "pasture", "green grass", "a field of grass", "a hillside",
        "a green hillside", "green fields", "a grassy plain", "a valley", "a green valley",
        "a lush meadow", "a prairie",
    ),
    "alpine meadow": (
        "an alpine meadow", "a meadow below mountains", "a mountain meadow",
        "a green valley below mountains", "grass in front of mountains",
        "a meadow with mountains",
    ),
    "flower meadow": (
        "a flower meadow", "a meadow of wildflowers", "a field of flowers", "a blooming meadow",
        "a meadow full of flowers",
    ),
    "open land": (
        "open country", "a plain", "open land", "countryside", "hills", "a wide plain", "a field",
        "a valley", "moorland",
    ),
}  # fmt: skip

DETAILS: Final[Phrases] = {
    "footpath": (
        "with a footpath", "with a path", "with a trail", "along a path", "with a hiking trail",
    ),
    "dirt road": ("with a dirt road", "with a road", "along a dirt road", "with a country road"),
    "stream": (
        "with a stream", "with a brook", "with a small river", "with a creek", "with a river",
    ),
    "tracks in the snow": ("with tracks in the snow", "with footprints", "with a path in the snow"),
    "stones": (
        "with stones", "with rocks", "with boulders", "with scattered rocks", "on rocky ground",
    ),
    "firs": (
        "with fir trees", "with some firs", "with pine trees", "with a few trees", "with trees",
        "with conifers",
    ),
    "acacias": ("with acacia trees", "with acacias", "with lone trees", "with trees"),
    "trees": (
        "with trees", "with a few trees", "with some trees", "with scattered trees",
        "with a lone tree",
    ),
    "autumn colours": ("in autumn colours", "with autumn trees", "in fall colours"),
    "bushes": ("with bushes", "with shrubs"),
    "flowers": ("with flowers", "with wildflowers", "full of flowers", "in bloom"),
    "distant lake": ("with a lake", "with a distant lake", "with water", "by the water"),
    "distant mountains": (
        "with mountains", "with distant mountains", "with mountains in the background",
        "below mountains", "with mountains on the horizon",
    ),
    "snow patches": ("with snow", "with some snow", "with patches of snow"),
    "reflections": ("with reflections", "mirrored in still water", "reflected in the water"),
}  # fmt: skip

SKIES: Final[Phrases] = {
    "cumulus": (
        "with puffy clouds", "with white clouds", "under big clouds", "with cumulus clouds",
    ),
    "overcast": (
        "under an overcast sky", "under a grey sky", "under low clouds", "with layered clouds",
    ),
    "wisps": ("with wispy clouds", "with thin clouds", "under high clouds", "with cirrus clouds"),
    "blue sky": ("under a blue sky", "with a blue sky", "under a bright blue sky"),
    "sunshine": ("in sunshine", "on a sunny day", "in bright sunlight", "in the sun"),
    "stars": ("under the stars", "under a starry sky", "with stars", "with a sky full of stars"),
    "afterglow": ("with an afterglow", "under a purple sky", "with a glowing horizon"),
    "red sky": ("under a red sky", "under an orange sky", "with a glowing sky", "with a fiery sky"),
    "low sun": ("with a low sun", "with the sun above the horizon", "with the sun in view"),
    "sun": ("with the sun", "with the sun in the sky", "with the sun in view"),
    "moon": ("with the moon", "under the moon", "with a full moon", "with the moon in the sky"),
    "rain": ("in the rain", "in heavy rain", "with rain", "on a rainy day"),
}  # fmt: skip

TIMES: Final[Phrases] = {
    "dawn": (
        "at dawn", "at sunrise", "at daybreak", "at first light", "in the early morning",
        "in the rising sun", "at the break of dawn",
    ),
    "morning": (
        "in the morning", "in morning light", "on a fresh morning", "in the morning sun",
    ),
    "noon": (
        "at noon", "at midday", "in daylight", "by day", "during the day", "in the daytime",
        "in the afternoon", "in bright daylight",
    ),
    "sunset": (
        "at sunset", "in the evening", "in evening light", "at golden hour", "in golden light",
        "at sundown", "in the evening sun", "in warm evening light", "in the setting sun",
        "as the sun sets",
    ),
    "twilight": (
        "at twilight", "at dusk", "after sunset", "at blue hour", "at nightfall",
        "in the last light", "in the twilight",
    ),
    "night": (
        "at night", "by moonlight", "in moonlight", "by night", "at midnight", "in the dark",
        "on a moonlit night", "at nighttime", "in the night", "late at night",
    ),
}  # fmt: skip
TIME_TAGS: Final[Phrases] = {
    "dawn": ("dawn", "sunrise", "daybreak", "early morning"),
    "morning": ("morning", "morning light"),
    "noon": ("noon", "midday", "daylight", "day"),
    "sunset": ("sunset", "evening", "golden hour", "sundown"),
    "twilight": ("twilight", "dusk", "blue hour"),
    "night": ("night", "moonlight", "night scene"),
}
TIME_ADJECTIVES: Final[Phrases] = {
    "dawn": ("dawn",),
    "morning": ("morning",),
    "sunset": ("evening", "sunset"),
    "twilight": ("twilight",),
    "night": ("moonlit", "dark", "nocturnal"),
}

WEATHERS: Final[Phrases] = {
    "clear": (
        "under a clear sky", "in clear weather", "with a clear sky", "under cloudless skies",
        "on a clear day", "in fine weather",
    ),
    "cloudy": (
        "under clouds", "with clouds", "under a cloudy sky", "in cloudy weather", "on a cloudy day",
        "with many clouds", "under drifting clouds", "with clouds in the sky",
    ),
    "foggy": (
        "in fog", "in the mist", "in the fog", "with mist", "in foggy weather", "in haze",
        "shrouded in fog", "with fog", "on a foggy day", "on a misty day", "in thick fog",
        "in dense fog",
    ),
    "stormy": (
        "in a storm", "under a stormy sky", "under dark clouds", "in stormy weather",
        "with storm clouds", "before a storm", "in bad weather", "on a stormy day",
        "in a thunderstorm", "under heavy clouds", "under black clouds",
    ),
}  # fmt: skip
WEATHER_TAGS: Final[Phrases] = {
    "clear": ("clear sky", "clear", "clear weather"),
    "cloudy": ("clouds", "cloudy", "cloudy sky"),
    "foggy": ("fog", "mist", "foggy", "misty", "haze"),
    "stormy": ("storm", "stormy", "storm clouds", "dark clouds"),
}
WEATHER_ADJECTIVES: Final[Phrases] = {
    "cloudy": ("cloudy", "overcast"),
    "foggy": ("misty", "foggy", "hazy"),
    "stormy": ("stormy", "rainy"),
}

SEASONS: Final[Phrases] = {
    "spring": ("in spring", "in springtime", "on a spring day"),
    "summer": ("in summer", "on a summer day", "in midsummer"),
    "autumn": ("in autumn", "in fall", "in october"),
    "winter": ("in winter", "in deep winter", "in january"),
    "dry season": ("in the dry season", "in the heat"),
}
MOODS: Final[Phrases] = {
    "dramatic": ("dramatic", "epic", "threatening"),
    "gloomy": ("gloomy", "dark", "moody"),
    "mysterious": ("mysterious", "moody", "eerie", "dreamy"),
    "calm": ("calm", "peaceful", "serene", "quiet", "tranquil"),
    "sunny": ("sunny", "bright", "sunlit"),
    "golden": ("golden", "warm", "glowing", "romantic"),
    "majestic": ("majestic", "epic", "grand"),
    "cold": ("cold", "icy", "frosty"),
}

# The look of a whole picture, by the renderer's style; the first phrases open a caption.
STYLE_OPENINGS: Final[Phrases] = {
    "ink wash": ("an ink wash painting of", "a sumi-e painting of", "an ink drawing of"),
    "poster": ("a poster of", "a travel poster of", "a screen print of"),
    "pastel": ("a pastel drawing of", "a pastel painting of", "a soft pastel of"),
    "pixel art": ("pixel art of", "a pixel art picture of", "an 8-bit picture of"),
}
STYLE_TAGS: Final[Phrases] = {
    "ink wash": ("ink wash", "ink wash style", "ink painting", "sumi-e", "in ink"),
    "poster": ("poster style", "travel poster", "flat colours", "screen print"),
    "pastel": ("pastel", "pastel style", "soft pastel colours", "pastel colours"),
    "pixel art": ("pixel art", "pixel style", "8-bit", "pixelated"),
}

# Words that people write into prompts and that the scenes know nothing of: learnt as noise.
FILLER: Final = (
    "anime", "style", "illustration", "cartoon", "digital", "art", "oil", "watercolor", "painting",
    "by", "artist", "trending", "quality", "high", "resolution", "ultra", "hdr", "render",
    "unreal", "engine", "octane", "concept", "fantasy", "magical", "surreal", "skiers", "city",
    "skyline", "waterfall", "village", "bridge", "people", "birds", "boat", "house", "castle",
    "tower", "old", "new", "small", "large", "big", "very", "and", "on", "of", "with", "near",
    "far", "from", "a", "the", "wonderful", "amazing", "lovely", "colourful", "vivid", "lighting",
    "light", "atmosphere", "background", "foreground", "horizon", "distant", "deep", "shot",
    "lens", "drone", "aerial", "award", "winning", "famous", "i", "want", "please", "show", "me",
    "some",
)  # fmt: skip
