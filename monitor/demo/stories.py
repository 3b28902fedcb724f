"""Who and what the demo writes about. Every company, publisher, person and headline here is made up."""

from __future__ import annotations

COMPANIES: dict[str, tuple[str, str]] = {
    "Halvorne Motors": ("HLVM", "Halvorne"),
    "Castellan Bank": ("CSTB", "Castellan"),
    "Quillon Software": ("QLLN", "Quillon"),
    "Verisande Pharma": ("VRSD", "Verisande"),
    "Brightwater Foods": ("BRWF", "Brightwater"),
    "Nordane Shipping": ("NRDS", "Nordane"),
    "Oakmere Retail": ("OKMR", "Oakmere"),
    "Lumenfield Energy": ("LMNF", "Lumenfield"),
    "Pelaris Airlines": ("PLRS", "Pelaris"),
    "Kestrelton Insurance": ("KSTN", "Kestrelton"),
    "Morrowgate Media": ("MRWG", "Morrowgate"),
    "Tessamine Chips": ("TSMN", "Tessamine"),
}
"""Name to (ticker, short name)."""

PUBLISHERS = (
    "Meridian Wire", "The Ledger Post", "Harbour Courier", "Capital Gazetteer", "Northgate Business", "Daily Tabulator",
    "Quayside Herald", "The Broad Column",
)  # fmt: skip

AUTHORS = (
    "tickertape_ana", "longbond_lou", "deskside", "marginal_mo", "quietquant", "fenwick_r", "payday_pat", "chartless",
    "nightshift_ny", "vega_vera", "small_cap_sue", "oldmoneyhal", "coupon_clip", "b_roker", "plainvanilla", "hedgerow",
)  # fmt: skip

ROUTINE = (
    "{c} opens a second distribution centre near the river port",
    "{c} names a new head of human resources",
    "{c} to present at the autumn investor conference",
    "{c} renews its lease on the {p} office",
    "{c} publishes its annual sustainability report",
    "{c} schedules its shareholder meeting for the {n}th",
    "{c} moves customer service to a new platform",
    "{c} partners with a university on apprenticeships",
    "{c} refreshes its logo after {n} years",
    "{c} appoints an auditor for the coming year",
    "{c} extends opening hours at {n} locations",
    "{c} hosts suppliers at a two-day forum in {p}",
    "{c} files its quarterly report with the exchange",
    "{c} board member {f} to retire in spring",
    "{c} trials paperless invoices with {n} customers",
    "{c} joins an industry group on data standards",
    "{c} holds its dividend at {n} cents",
    "{c} confirms the date of its third-quarter call",
    "{c} sets up a working group on packaging",
    "{c} sponsors the {p} marathon again",
    "Interview: {f} on what comes next at {c}",
    "{c} and city of {p} sign a training agreement",
    "{c} changes the address of its registered office",
    "{c} introduces a loyalty card in {p}",
    "How {c} plans its warehouses: a visit with {f}",
    "{c} adds {n} electric vans to its fleet",
    "{c} updates its terms of service",
    "{c} begins its search for a new treasurer",
    "{c} takes part in a trade fair in {p}",
    "{c} completes the move of its archive to {p}",
)

CHEERFUL = (
    "{c} shares rise as orders beat expectations",
    "{c} lifts its outlook after a strong quarter",
    "{c} wins a {n}-year contract in {p}",
    "Analysts upgrade {c} to buy on better margins",
    "{c} posts record profit and raises its dividend",
)

GLOOMY = (
    "{c} shares slip as costs weigh on margins",
    "{c} misses estimates as demand weakens in {p}",
    "Broker cuts {c} to sell on a cautious outlook",
)

MACRO = (
    "Services activity holds steady in {p}, survey of {n} firms shows",
    "Retail footfall in {p} little changed from last month",
    "Ministry in {p} publishes its budget calendar",
    "Central bank keeps its policy rate unchanged, governor {f} to speak on the {n}th",
    "Statistics office revises household survey for {p}",
    "Crude inventories in line with forecasts at {n} million barrels",
    "Oil trades in a narrow range ahead of producers' meeting in {p}",
    "Gas storage at {n} percent as heating season nears in {p}",
    "Refinery in {p} returns from planned maintenance",
    "Bond auction in {p} draws usual demand at {n} basis points",
    "Currency little moved against peers in quiet trading, {p} desk says",
    "House prices in {p} unchanged for the {n}th week",
)

CHATTER = (
    "anyone else reading the {s} annual report on the train today? page {n} is dense",
    "{s} canteen in {p} has new coffee, that is all the news I have",
    "went to the {s} booth in {p}, nice people, plenty of brochures",
    "holding {s} since year {n}, not doing anything about it",
    "{s} investor day slides are up, {n} of them, have not opened them yet",
    "my neighbour {f} starts at {s} on monday",
)

PLACES = (
    "Port Ansel", "Greywick", "Solmouth", "East Tarrow", "Vellingham", "Marrowby", "Linden Quay", "Ostrava Bay",
    "Cresthaven", "Dunmoor", "Pellworth", "Ashgate",
)  # fmt: skip
PEOPLE = ("Ilse Marten", "Tobias Crane", "Renata Voss", "Jun Okoye", "Mirela Stanek", "Pascal Thorne", "Ada Lindqvist")

COMPANY_CRISIS = (
    "Halvorne Motors shares plunge after brake supplier stops deliveries",
    "Halvorne Motors slashes full-year profit forecast, warns of heavy losses",
    "Trading in Halvorne stock halted as sell orders overwhelm the exchange",
    "Ratings agency downgrades Halvorne Motors debt to junk",
    "Halvorne Motors recalls 410,000 cars and shares sink to a nine-year low",
    "Lenders tighten terms on Halvorne Motors as liquidity worries mount",
    "Three brokers cut Halvorne Motors to sell, citing collapsing margins",
    "Halvorne Motors scraps its dividend to save cash, stock tumbles",
    "Halvorne bonds fall to 61 cents as investors fear a default",
    "Quarterly loss at Halvorne Motors triples, far worse than analysts feared",
    "Halvorne Motors to cut 6,200 jobs as sales slump across Europe",
    "Short sellers double bets against Halvorne Motors after weak guidance",
    "Halvorne Motors loses its largest fleet contract, orders drop sharply",
    "Dealers cancel Halvorne orders as complaints pile up, revenue to miss estimates",
    "Halvorne Motors chief steps down amid accounting loss, shares crash",
    "Prosecutors probe Halvorne Motors over emissions figures, stock slides 18%",
    "Halvorne Motors suspends production at two plants, warns of missed targets",
    "Insurers raise premiums for Halvorne Motors, adding to rising costs and losses",
    "Credit default swaps on Halvorne jump to a record as confidence drains",
    "Halvorne Motors delays its results again, investors dump the stock",
    "Pension fund sells entire Halvorne stake at a loss after profit warning",
    "Halvorne Motors faces 900 million charge, earnings outlook deteriorates",
    "Suppliers demand cash from Halvorne Motors up front as shares keep falling",
    "Index provider to drop Halvorne Motors after market value collapses",
    "Halvorne Motors warranty costs soar, margins shrink to the worst in a decade",
)
"""News of the company's crisis: distinct stories, not one story retold."""

COMPANY_CRISIS_POSTS = (
    "HLVM down 22% and no bid anywhere, this is ugly",
    "sold all my Halvorne at a huge loss this morning, should have listened",
    "Halvorne guidance cut again?? stock is getting crushed",
    "puts on $HLVM printing, weak numbers everywhere",
    "Halvorne Motors bleeding cash, bankruptcy talk on every desk today",
    "ouch, Halvorne margin call for half my group chat, brutal selloff",
    "worst day for Halvorne shareholders since listing, falling and falling",
    "$HLVM breaks support, next stop much lower imo",
    "Halvorne bondholders are bearish for a reason, default risk rising fast",
    "downgraded, recalled, sued: Halvorne having a terrible week, shares tank",
    "cannot believe how weak Halvorne sales are, missed by a mile",
    "stay away from $HLVM, losses widening every quarter",
)

TOPIC_CRISIS = (
    "Oil prices plunge 9% as producers fail to agree on output cuts",
    "Brent crude tumbles below 60 dollars on fears of a glut",
    "Crude inventories jump far above forecasts, oil futures sink",
    "Energy shares slump as oil extends its worst weekly loss since spring",
    "Oil drillers idle rigs as prices collapse, losses loom",
    "Refiners cut runs as fuel demand weakens sharply, crude falls again",
    "Natural gas drops to a two-year low on mild weather and weak demand",
    "Oil majors warn of steep profit declines after crude slide",
    "Shale producers face cash crunch as crude tumbles, analysts say",
    "Tanker rates collapse as oil shipments dwindle",
    "Oil services firms slash forecasts on falling drilling activity",
    "Crude sell-off deepens as storage tanks near capacity",
    "Petroleum exports drop to the lowest level in six years, prices weaken",
    "Hedge funds dump bullish oil bets as crude slides",
    "OPEC delegates see weaker oil demand, crude falls 4% more",
    "Gasoline futures sink as driving season disappoints",
    "Oil sands operators halt expansion as crude price slump bites",
    "Diesel demand falls for a fifth month, dragging crude lower",
    "Oil explorers' debt downgraded to junk as crude rout worsens",
    "Heating oil tumbles as warm winter forecasts hit demand",
    "LNG cargo prices slump on oversupply in Asia",
    "Pipeline operator cuts payout as oil volumes decline",
    "Crude discount widens as buyers shun heavy oil grades, prices fall",
    "Oil output surge swamps market and pushes crude to yearly low",
    "Offshore oil projects shelved after crude price drop, losses mount",
    "Energy lenders brace for oil defaults as crude keeps falling",
    "Oil trading houses report heavy losses on crude's sharp decline",
    "Jet fuel demand weakens, adding to crude oil's slide",
    "US crude stocks swell by 11 million barrels, oil drops 5%",
    "Oil refinery margins turn negative as fuel prices crash",
    "Wildcatters file for protection as oil price collapse spreads",
    "Crude benchmark settles at lowest since the pandemic, oil bulls retreat",
)

POSITIVE_BURST = (
    "Verisande Pharma soars after late-stage trial meets its main goal",
    "Regulator grants Verisande Pharma fast-track review, shares jump",
    "Analysts raise Verisande Pharma targets on strong data",
    "Verisande Pharma lifts revenue outlook after trial success",
    "Verisande Pharma signs licensing deal worth 1.2 billion, stock rallies",
    "Fund managers add to Verisande Pharma as momentum builds",
    "Verisande Pharma beats estimates and boosts its forecast",
    "Record inflows push Verisande Pharma to an all-time high",
    "Verisande Pharma wins approval in Japan, shares surge again",
    "Partners praise Verisande Pharma data as best in class, upgrade follows",
    "Verisande Pharma to expand its plant on booming demand",
    "Verisande Pharma doubles its profit as sales climb",
)

REPRINTED = "Castellan Bank shares drop after quarterly profit misses expectations"

SURGE = (
    "Quillon version {n} is out, changelog is long, reading it now",
    "queue for the Quillon keynote in {p} goes around the block, about {n} people",
    "Quillon developer day: {n} sessions, picked three for tomorrow",
    "anyone have the link to the Quillon keynote stream from {p}?",
    "Quillon badge number {n}, see you all in hall B",
    "watching Quillon slides from home in {p} with tea",
    "Quillon said session {n} will be recorded, good",
    "met {f} at the Quillon workshop, room {n}",
)
