"""Words that surround names, and words that are none. Lower case; data, no rules."""

from __future__ import annotations

TITLES = frozenset(
    """
    capt capt. captain dame detective doctor dr dr. dr.. fr. judge lt lt. madam miss mister mr
    mr. mrs mrs. ms ms. mx mx. nurse officer prof prof. professor rabbi rev rev. reverend sgt
    sgt. sir sister sr.
    """.split()
)
"""Words before a name."""
SOFT_TITLES = frozenset(
    """
    captain doctor judge madam miss nurse officer professor sir sister
    """.split()
)
"""Titles that are common words as well: an uncommon word must follow."""
CREDENTIAL_WORDS = frozenset(
    """
    aprn arnp bsn cna cnm cnp crna d.o. dds dmd dnp do dpm dpt esq facc facs fnp ii iii iv jr
    jr. lcsw lmsw lpn lvn m.d m.d. ma mbbs md mph msn msw np od otr pa pa-c ph.d. pharmd phd
    psyd r.n. rn rph sr
    """.split()
)
"""Degrees and licences after a name."""
LABELS = frozenset(
    """
    anesthesiologist applicant assistant attending attention attn authenticated author brother
    by called cardiologist caregiver cc child clinician consultant contact coordinator counselor
    daughter dear dictated doctor emergency employee examiner father fellow forename from
    fullname guarantor guardian holder husband informant insured interpreter interviewer kin
    member midwife mother name names nurse operator ordering parent partner pastor pathologist
    patient pcp performed pharmacist physician prescriber provider proxy pt radiologist re
    recipient referring regards resident responsible reviewed reviewer signed sincerely sister
    son specialist spouse subscriber surgeon surname technician therapist to transcribed
    transcriber transcriptionist user verified wife witness
    """.split()
)
"""Words that a name follows after a colon."""
PARTICLES = frozenset(
    """
    al bin da de del della den der di dos el ibn la le st st. van von
    """.split()
)
"""Words inside a name."""
SPEAKERS = frozenset(
    """
    called clinician doctor from nurse patient pt re to
    """.split()
)
"""Labels of a dialogue, after which any word may stand."""
RELATIVES = frozenset(
    """
    aunt boyfriend brother brother-in-law cardiologist caregiver cousin dad daughter
    daughter-in-law dear father fiance fiancee friend girlfriend granddaughter grandfather
    grandmother grandson guardian hello hi husband mom mother name named neighbor nephew niece
    nurse partner patient pcp physician provider regards roommate sincerely sister sister-in-law
    son son-in-law spouse stepdaughter stepson surgeon thanks uncle wife
    """.split()
)
"""Words that a name follows without a colon."""
GENITIVE = frozenset(
    """
    anemia approach bodies catheter clamp classification coma contracture criteria cyst dementia
    disease drain esophagus fracture grade index law level levels line lymphoma maneuver method
    monitor nevus node nodes operation palsy phenomenon point position procedure protocol reflex
    retractor ring sarcoma scale score sign solution staging stain syndrome test thyroiditis
    tube tumor view
    """.split()
)
"""Words that make the word before them an eponym."""
NEVER = frozenset(
    """
    a account address admission after age ah allergies alright also an and april are as
    assessment at attending august avenue be been before but by can center chief clinic
    complaint contact continue could date december department diagnosis dictated did discharge
    do dob doctor does dr during eh electronically email emergency exam examination fax february
    female for friday from given good had has have he hello her hey hi him his history hiya hm
    hmm hospital how however huh i if illness im in insurance is it ive january july june just
    kin male march may me medical medications member miss mm monday mr mrn mrs ms my nah name
    next no nope not note november now nurse objective october of oh ok okay old on or our
    patient per phone physical physician plan please policy present provider pt report review
    reviewed right road said saturday saw say says see seen september she should signed since so
    ssn started street subjective sunday sure systems thank thanks that the their then there
    these they this those thursday time to today tomorrow transcribed tuesday uh um unit us was
    we wednesday well were what when where which while who why will with would wow yeah years
    yep yes yesterday you your
    """.split()
)
"""Words that are no name even where a name stands."""
ABBREVIATIONS = frozenset(
    """
    ab ac ad ae af ak al am an ap as at av ba bb bk bm bp br bs bx ca cc cd ce cf ch ck cl cm cn
    co cp cr cs ct cv cx da db dc de di dj dl dm do dr ds du dx ed ef eg ek em en ep er es et ex
    fa fh fm fu fx ga gc gi gn go gp gu ha hb hd he hf hh hi hl hm ho hp hr hs ht hx ia ib ic id
    if ii im in io ip iq is it iv kg kt kv la lb ld le lf ll lm lo lp lv lw ma mc md me mg mi ml
    mm mn mo mr ms mt my na nc ne ng nh nk nl no np ns nt nv od of ok om on op or os ot oz pa pc
    pe pf ph pk pm po pp pr ps pt px qd qt ra rf rh rl rm rn ro rr rt rx sa sc se sh si sl sm sn
    so sp sq ss st sv sx sz ta tb td te th ti tm tn to tp tr tv tx ua ud uc ui um un up ur us ut
    uv va vs vt wa wb we wm wt xr yo
    """.split()
)
"""Pairs of letters that stand for something else than a person after `pt`."""
ORDINARY = frozenset(
    """
    abbot april archer august autumn baker banks barber basil battles berry bishop bliss boom
    borne bowler burger butcher butter carpenter cash castor cedar chance chandler cherry clay
    coral cotton crisp crystal daisy dale dawn dean december diamond dove dragon drew duke earl
    easter faith favorite february fern fields fisher flowers forest friday fries frost gardener
    ginger glen glover golden grace grove guest guy hardy harvest hazel heath heather holly
    honey hunger hunter iris ivory ivy jade january jasmine jewel joiner joy july june kinda
    king knight lane lanes laurel lily little magic major marsh masters mercy miracle monday
    moody moss noble nobles november october olive pages pardon parson patience pearl pepper
    pierce piper pointer pollard pope potter prince prudence queen reed ripple rivers robin rose
    rosemary ruby rust sable sage sandy saturday savage sawyer sells september sergeant shepherd
    silk silver singer skinner smart snow spark sparks spring stark stern steward summer sunday
    swift tack tanner teas thorn thursday tinker trail trim tuesday usher vinegar violet waits
    walker weaver wednesday wells willow winter woods
    """.split()
)
"""Words that are names too; in small letters they are taken for the word."""
