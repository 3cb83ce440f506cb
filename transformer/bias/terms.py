"""The words that are exchanged, in pairs female – male, and the words that tell apart the two meanings of "her" and of "his".

Each word stands in one pair, so that exchanging twice gives it back.  Left out are names that are also words, months or places (Rose, May,
Will, Mark, Charlotte, Jordan) and words whose partner has another use (hostess, countess: to host, to count).
"""

from __future__ import annotations


def pairs(table: str) -> dict[str, str]:
    """The pairs of a table, from each word to its partner, both ways."""
    rows = [row.split() for line in table.splitlines() for row in line.split("/") if row.strip()]
    return dict(rows) | {male: female for female, male in rows}


def words(table: str) -> frozenset[str]:
    return frozenset(table.split())


WORDS = pairs("""
    she he / herself himself / woman man / women men / girl boy / girls boys / lady gentleman / ladies gentlemen / female male / females males
    mother father / mothers fathers / mom dad / moms dads / mommy daddy / stepmother stepfather / grandmother grandfather
    grandmothers grandfathers / grandma grandpa / mother-in-law father-in-law / sister-in-law brother-in-law / daughter-in-law son-in-law
    mothers-in-law fathers-in-law / sisters-in-law brothers-in-law / daughters-in-law sons-in-law
    daughter son / daughters sons / granddaughter grandson / granddaughters grandsons / stepdaughter stepson / stepsister stepbrother
    sister brother / sisters brothers / wife husband / wives husbands / girlfriend boyfriend / girlfriends boyfriends
    aunt uncle / aunts uncles / niece nephew / nieces nephews / bride bridegroom / brides bridegrooms / widow widower / widows widowers
    feminine masculine / femininity masculinity / maternal paternal / motherhood fatherhood / sisterhood brotherhood / motherly fatherly
    sisterly brotherly / womanhood manhood / womanly manly / girlhood boyhood / girlish boyish / schoolgirl schoolboy / schoolgirls schoolboys
    actress actor / actresses actors / waitress waiter / waitresses waiters / stewardess steward / stewardesses stewards
    heiress heir / heiresses heirs / heroine hero / heroines heroes / princess prince / princesses princes / duchess duke / duchesses dukes
    empress emperor / empresses emperors / saleswoman salesman / saleswomen salesmen / businesswoman businessman / businesswomen businessmen
    policewoman policeman / policewomen policemen / chairwoman chairman / chairwomen chairmen / spokeswoman spokesman / spokeswomen spokesmen
    congresswoman congressman / congresswomen congressmen / landlady landlord / landladies landlords / nun monk / nuns monks
""")
TITLES = pairs("Ms Mr")  # as written only: ms is a millisecond, MS and MR are abbreviations
NAMES = pairs("""
    Mary James / Linda Robert / Barbara Michael / Elizabeth William / Jennifer David / Maria Richard / Susan Charles / Margaret Joseph
    Dorothy Thomas / Lisa Christopher / Nancy Daniel / Karen Paul / Betty Donald / Helen George / Sandra Kenneth / Donna Steven / Jane John
    Caroline Edward / Ruth Brian / Sharon Ronald / Michelle Anthony / Laura Kevin / Sarah Jason / Kimberly Matthew / Deborah Gary
    Jessica Timothy / Cynthia Jeffrey / Angela Eric / Melissa Stephen / Brenda Andrew / Amy Raymond / Anna Gregory / Rebecca Joshua
    Kathleen Jerry / Amanda Dennis / Emma Oliver / Olivia Noah / Sophie Lucas / Emily Ethan / Julia Julian / Alice Henry / Ellen Peter
    Martha Simon / Diana Adam / Lucy Harry / Hannah Samuel / Catherine Patrick / Judith Philip / Teresa Antonio / Fatima Ahmed
    Aisha Omar / Priya Rahul / Mei Wei / Yuki Kenji / Latoya Jamal / Keisha Darnell / Svetlana Ivan / Ingrid Lars
""")
PARTNERLESS = words("""
    mrs miss mum mums madam sir king kings queen queens lad lads lass countess hostess pregnant
""")  # a text with one of these is in doubt

# What follows "her" or "his" when no noun of its own does: saw her yesterday, the book is his.
NO_NOUN = words("""
    a an the this that these those my your his her its our their some any no every each all both either neither another
    i you he she it we they me him us them mine yours hers ours theirs myself yourself himself herself itself ourselves themselves
    who whom whose which what where when why how whether whoever whatever
    and or but nor so yet because if while since until till unless although though than as
    to from in on at by with for of about into onto over under after before during through against between among without within behind beside
    beyond across along around above below near off out up down away toward towards upon
    is am are was were be been being has have had having do does did would could should may must shall cannot not
    again yesterday today tomorrow tonight anymore anyway instead too alone there here ago together
""")
EITHER = words("back home right left well past will can might kind like inside outside now then always never often once still even only just")
LETTING = words("""
    let lets letting make makes made making help helps helped helping watch watches watched watching see sees saw seen seeing hear hears heard
    hearing feel feels felt feeling
""")
BARE_VERBS = words("""
    go come leave know understand feel think speak eat sit stand lose win see say tell believe become do be have get take give keep forget
    remember realise realize wait
""")
PREDICATES = words("happy sad angry nervous famous rich proud sick ill tired afraid jealous uncomfortable sleepy hungry mad")
TWO_OBJECTS = words("""
    give gives gave given giving tell tells told telling show shows showed shown showing send sends sent sending offer offers offered offering
    hand hands handed lend lends lent teach teaches taught ask asks asked asking buy buys bought bring brings brought owe owes owed pay pays paid
    promise promised wish wished cost write writes wrote read reads get gets got find finds found make makes made making cook cooked save saved
    call calls called name names named consider considers considered think thought elect elected appoint appointed let lets
""")
