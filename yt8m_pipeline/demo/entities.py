"""The demo's entities and what raters said of them: names and verticals as in the paper's Table 1, Freebase ids."""

from dataclasses import dataclass

from yt8m_pipeline.accounting.reasons import DropReason


@dataclass(frozen=True, slots=True)
class Entity:
    """One row of the entities table, with its ratings.

    Attributes:
        entity_id: The Freebase id.
        name: The entity's name, also the title of its Wikipedia page.
        types: The types that stage 1 looks at.
        verticals: 0–3 top-level categories.
        description: One sentence.
        scores: One score per rater, 1 (most visual) to 5; None stands for "n/a".
        drop: Why the entity leaves a build of configs/smoke.yaml in stages 1 to 3; None where it stays.
    """

    entity_id: str
    name: str
    types: tuple[str, ...]
    verticals: tuple[str, ...]
    description: str
    scores: tuple[int | None, ...]
    drop: DropReason | None = None

    @property
    def wiki_url(self) -> str:
        return f"https://en.wikipedia.org/wiki/{self.name.replace(' ', '_')}"


DEPICTED = (
    Entity(
        "/m/0342h",
        "Guitar",
        ("musical_instrument",),
        ("Arts & Entertainment",),
        "The guitar is a fretted musical instrument, usually with six strings.",
        (1, 1, 1),
    ),
    Entity(
        "/m/0k4j",
        "Car",
        ("vehicle", "invention"),
        ("Autos & Vehicles",),
        "A car is a motor vehicle with wheels, made to carry a few people on roads.",
        (1, 1, 2),
    ),
    Entity(
        "/m/0bt9lr",
        "Dog",
        ("animal", "pet"),
        ("Pets & Animals",),
        "The dog is a domesticated descendant of the wolf; it is bred for companionship, work and sport.",
        (1, 2, 1),
    ),
    Entity(
        "/m/018w8",
        "Basketball",
        ("sport",),
        ("Sports",),
        "Basketball is a team sport in which two teams of five try to throw a ball through a hoop.",
        (2, 1, 2, 0),
    ),
    Entity(
        "/m/0fszt",
        "Cake",
        ("food",),
        ("Food & Drink",),
        "Cake is a baked, sweet food, often made in layers and decorated.",
        (2, 2, 1),
    ),
    Entity(
        "/m/07jdr",
        "Train",
        ("vehicle",),
        ("Autos & Vehicles", "Travel"),
        "A train is a series of connected vehicles that run along a railway track.",
        (1, 2, 2),
    ),
    Entity(
        "/m/015p6",
        "Bird",
        ("animal",),
        ("Pets & Animals", "Science"),
        "Birds are warm-blooded vertebrates with feathers, beaks and wings.",
        (2, 3, 2, 3),
    ),
    Entity(
        "/m/01lb5",
        "Chess",
        ("game", "sport"),
        ("Games",),
        "Chess is a board game for two players on a board of 64 squares.",
        (3, 2, 2, 6),
    ),
)
"""The entities that stay in the vocabulary. Raters' means run from 1, coarse, to the limit of 2.5, fine."""

SCARCE = Entity(
    "/m/0kmg4",
    "Teddy bear",
    ("toy",),
    ("Hobbies & Leisure", "Shopping"),
    "A teddy bear is a stuffed toy in the form of a bear.",
    (1, 1, 1),
    DropReason.TOO_FEW_VIDEOS,
)
"""Popular enough in the whole corpus, but not in the sample."""

RARE = Entity(
    "/m/02j81",
    "Eiffel Tower",
    ("tourist_attraction", "structure"),
    ("Travel",),
    "The Eiffel Tower is a wrought-iron lattice tower in Paris.",
    (1, 1, 1),
    DropReason.TOO_FEW_POPULAR_VIDEOS,
)
"""Visual, and in two videos only."""

OTHERS = (
    Entity(
        "/m/07_53",
        "Volleyball",
        ("sport",),
        ("Sports",),
        "Volleyball is a team sport in which two teams of six hit a ball over a net.",
        (2, 2, 2),
        DropReason.TOO_FEW_POPULAR_VIDEOS,
    ),
    Entity(
        "/m/04rlf",
        "Music",
        ("art_form",),
        ("Arts & Entertainment",),
        "Music is the arrangement of sound in time.",
        (4, 5, 5),
        DropReason.NO_WHITELISTED_TYPE,
    ),
    Entity(
        "/m/07c1v",
        "Technology",
        (),
        (),
        "Technology is the application of knowledge for practical goals.",
        (4, 4, 5),
        DropReason.NO_WHITELISTED_TYPE,
    ),
    Entity(
        "/m/04rjg",
        "Mathematics",
        ("field_of_study",),
        ("Science", "Jobs & Education", "Reference"),
        "Mathematics is the study of numbers, shapes, structures and change.",
        (5, 4, 5),
        DropReason.NO_WHITELISTED_TYPE,
    ),
    Entity(
        "/m/07c0j",
        "The Beatles",
        ("music_artist",),
        ("Arts & Entertainment",),
        "The Beatles were an English rock band formed in Liverpool.",
        (3, 2, 3),
        DropReason.BLACKLISTED_TYPE,
    ),
    Entity(
        "/m/02hygl",
        "Music video game",
        ("game", "software"),
        ("Games", "Arts & Entertainment"),
        "A music video game is one whose play is about reacting to music.",
        (2, 2, 3),
        DropReason.BLACKLISTED_TYPE,
    ),
    Entity(
        "/m/03hf_rm",
        "Strategy game",
        ("game",),
        ("Games",),
        "A strategy game is one that is decided by the choices of its players.",
        (4, 3, 3),
        DropReason.NOT_VISUAL,
    ),
    Entity(
        "/m/068hy",
        "Pet",
        ("animal",),
        ("Pets & Animals",),
        "A pet is an animal kept for company, whatever it looks like.",
        (2, 3, 3),
        DropReason.NOT_VISUAL,
    ),
    Entity(
        "/m/09xp_",
        "Cricket",
        ("sport",),
        ("Sports",),
        "Cricket is a bat-and-ball sport between two teams of eleven.",
        (1, 2),
        DropReason.TOO_FEW_RATERS,
    ),
    Entity(
        "/m/037hz",
        "Golf",
        ("sport",),
        ("Sports", "Hobbies & Leisure"),
        "Golf is a sport in which players hit a ball into holes with clubs.",
        (2, None, 1),
        DropReason.TOO_FEW_RATERS,
    ),
)
"""The entities that the type lists, the raters or the number of popular videos remove."""

ENTITIES = (*DEPICTED, SCARCE, RARE, *OTHERS)
