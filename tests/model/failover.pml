/* That never two hosts act for one VM: the election, the gate and the release lease, searched whole.
 *
 * Host A is the Primary of a pair, B its Secondary. One of them goes on alone and makes a second pair
 * with C; whoever was left behind may wake up at any time.
 *
 * A step is one thing that one thread of a host does. A host that stands still is one that makes no step
 * while clocks tick, so each may stand still before each step, for as long as it takes. A connection is
 * lost to an end as soon as that end says so, whether or not the other lives. Storage that is away is a
 * host whose next step waits, and a link(2) that hangs and lands late is one that is made late; the reply
 * that is lost is a step of its own.
 *
 * What must hold is numbered below: (1) a generation has one owner; (2) nothing leaves a host once another
 * is live; (3) who goes live holds the marks of all that left; (4) the VM goes on.
 *
 * `check` runs it, as it is and with each bug that the search has to find (-DBUG_...). */

/* Ticks. What is between the two is the margin: a Secondary's clock may get one tick ahead. */
#define DEAD_AFTER 3
#ifdef BUG_NO_MARGIN
#define LEASE DEAD_AFTER
#else
#define LEASE (DEAD_AFTER - 1)
#endif

/* What the guest does under each pair: odd records are inputs, even ones the marks of outputs. */
#ifndef RECORDS
#define RECORDS 4
#endif

/* The second pair can be left out. */
#ifndef PAIRS
#define PAIRS 2
#endif

#define NOBODY 0
#define A 1
#define B 2
#define C 3

mtype = {
    kNone,       /* This pair is yet to be made. */
    kOpen,       /* The Primary is alone: its gate is open while the Secondary is made. */
    kGated,      /* The Primary's outputs wait for acks. */
    kHandedOver, /* The Primary's gate is shut for good. */
    kFollows,    /* The Secondary takes the log in, and acks it. */
    kWaits,      /* The Secondary acks no more, and lets its last promise end. */
    kContests,   /* Either makes the link. */
    kReads,      /* Either was told EEXIST. */
    kWon,        /* Either is the owner, and knows. */
    kSolo,       /* Either is live, its gate open. */
    kLost,       /* Either has halted, for good. */
    kMoved,      /* Either goes on in the second pair. */
    kOut,        /* The Secondary was never told that the pair is complete. */
    kCrashed
};

typedef Message {
    byte upto;     /* This record, and all before it, are in it or in those before it. */
    byte age;      /* By the Primary's clock, and no more than LEASE: from there on it opens nothing. */
    bool protects; /* The pair is complete: its Secondary may take over. */
    bool goodbye;  /* The Primary hands over. */
};

typedef Ack {
    byte upto;
    byte age;      /* Of the message that it answers. */
    bool is_protected;
};

typedef Pair {
    mtype primary = kNone;
    mtype secondary = kNone;
    byte primary_host;
    byte secondary_host;

    /* The Primary's. */
    byte made;             /* Its guest's newest record. */
    byte left;             /* The newest output that left. */
    byte acked;
    byte lease;            /* Ticks that are left of it. */
    bool may_be_succeeded; /* The Secondary was told that the pair is complete, */
    bool is_protected;     /* and has answered that. */

    /* On their way, the oldest first. */
    Message message[2];
    byte messages;
    Ack ack[2];
    byte acks;

    /* The Secondary's. */
    byte held;
    byte promise;       /* Ticks that are left of it. */
    bool may_succeed;

    bool is_ahead;      /* The Secondary's clock. */
    bool has_crashed;   /* A pair is there for one crash. */
};
Pair pair[PAIRS];

/* gen-<n>: who owns it. A nonce is of one host's bid for one generation, so here the host will do. The
 * first pair has generation 1, and both bid for 2; the second pair takes 3, and both bid for 4. */
byte file[5];
#define OWN_GENERATION(i) (2 * (i) + 1)
#define NEXT_GENERATION(i) (2 * (i) + 2)
#ifdef BUG_GENERATION_REUSE
#define PRIMARYS_BID(i) NEXT_GENERATION(0)
#else
#define PRIMARYS_BID(i) NEXT_GENERATION(i)
#endif

/* The judge's: who won, and who went live last. */
byte winner[5];
byte acting = A;

#ifdef BUG_NO_MARK
#define MARK_OF(output) (output - 1) /* The last input before it. */
#else
#define MARK_OF(output) output
#endif

#ifdef BUG_LEASE_FROM_ARRIVAL
#define LEASE_BY(answered) LEASE
#else
#define LEASE_BY(answered) (LEASE - answered)
#endif

#if defined(BUG_EEXIST_WINS)
#define ON_EEXIST kWon
#elif defined(BUG_EEXIST_LOSES)
#define ON_EEXIST kLost
#else
#define ON_EEXIST kReads
#endif

#ifdef BUG_LIVE_ON_RESET
#define HAS_NO_PROMISE true
#else
#define HAS_NO_PROMISE (pair[i].promise == 0)
#endif

#ifdef BUG_PROTECTED_EARLY
#define HOLDS_WHAT_LEFT true
#else
#define HOLDS_WHAT_LEFT (pair[i].acked >= pair[i].left)
#endif

#ifdef BUG_HANDED_TO_NOBODY
#define MAY_HAND_OVER true
#else
#define MAY_HAND_OVER pair[i].is_protected
#endif

#define P pair[i].primary
#define S pair[i].secondary
#define IS_UP (P == kOpen || P == kGated)
#define HAS_OUTPUT (pair[i].left + 2 <= pair[i].made)

inline clear_message(i, n) {
    pair[i].message[n].upto = 0;
    pair[i].message[n].age = 0;
    pair[i].message[n].protects = false;
    pair[i].message[n].goodbye = false
}

inline clear_ack(n) {
    pair[i].ack[n].upto = 0;
    pair[i].ack[n].age = 0;
    pair[i].ack[n].is_protected = false
}

inline send(to, is_protection, is_goodbye) {
    if
    :: S == kFollows ->
       pair[i].message[pair[i].messages].upto = to;
       pair[i].message[pair[i].messages].protects = is_protection;
       pair[i].message[pair[i].messages].goodbye = is_goodbye;
       pair[i].messages++
    :: else /* Nobody reads it. */
    fi
}

/* (2) Nobody has gone live since this host was the one that acts. */
inline release(host) {
    assert(acting == host);
    pair[i].left = pair[i].left + 2
}

/* (1) A generation is won by one host. */
inline win(host, generation) {
    assert(winner[generation] == NOBODY || winner[generation] == host);
    winner[generation] = host
}

inline close_primary() {
    clear_ack(0);
    clear_ack(1);
    pair[i].acks = 0;
    pair[i].acked = 0;
    pair[i].lease = 0
}

inline close_secondary() {
    clear_message(i, 0);
    clear_message(i, 1);
    pair[i].messages = 0
}

/* Of either side, whose state is `side`. */
#define STEPS_OF_ELECTION(side, host, generation)                                       \
    :: d_step { side == kContests && file[generation] == NOBODY ->                      \
                file[generation] = host; side = kWon }                                  \
    /* The reply is lost. */                                                            \
    :: d_step { side == kContests && file[generation] == NOBODY ->                      \
                file[generation] = host }                                               \
    :: d_step { side == kContests && file[generation] != NOBODY -> side = ON_EEXIST }   \
    :: d_step { side == kReads && file[generation] == host -> side = kWon }             \
    :: d_step { side == kReads && file[generation] != host -> side = kLost }

/* The second pair begins. What the host that was left behind may still do is made to be as much as it
 * could ever be, which leaves fewer states to search. */
inline leave_secondary_behind() {
    pair[1].primary_host = pair[0].primary_host;
    pair[0].primary = kMoved;
    pair[0].made = 0;
    pair[0].left = 0;
    pair[0].messages = 0;
    clear_message(0, 0);
    clear_message(0, 1);
    pair[0].promise = 0;
    pair[0].held = 0;
    pair[0].is_ahead = false
}

inline raise_ack(n) {
    if
    :: n < pair[0].acks -> pair[0].ack[n].upto = RECORDS
    :: else
    fi
}

inline leave_primary_behind() {
    pair[1].primary_host = pair[0].secondary_host;
    pair[0].secondary = kMoved;
    pair[0].made = RECORDS;
    pair[0].left = 0;
    pair[0].acked = RECORDS;
    pair[0].is_protected = true;
    raise_ack(0);
    raise_ack(1);
    pair[0].held = 0;
    pair[0].is_ahead = false
}

proctype Primary(byte i) {
    byte host;

    /* Who is alone takes C for its Secondary. */
end_alone:
    if
    :: i == 0 -> skip
    :: d_step {
           i == 1 && (pair[0].primary == kSolo || pair[0].secondary == kSolo) ->
           if
           :: pair[0].primary == kSolo -> leave_secondary_behind()
           :: else -> leave_primary_behind()
           fi;
           P = kOpen;
           S = kFollows
       }
    fi;
    host = pair[i].primary_host;

end:
    do
    :: d_step { IS_UP && pair[i].made < RECORDS -> pair[i].made++ }
    :: d_step { IS_UP && S == kFollows && pair[i].messages < 2 -> send(pair[i].made, false, false) }
#ifdef FIND_ENDLESS
/* Who asks for this looks for runs that go on for ever without it. */
progress:
       skip
#endif
    :: d_step {
           IS_UP && pair[i].acks > 0 ->
           pair[i].acked = pair[i].ack[0].upto;
           if
           :: P == kGated && LEASE_BY(pair[i].ack[0].age) > pair[i].lease ->
              pair[i].lease = LEASE_BY(pair[i].ack[0].age)
           :: else
           fi;
           pair[i].is_protected = pair[i].is_protected || pair[i].ack[0].is_protected;
           pair[i].ack[0].upto = pair[i].ack[1].upto;
           pair[i].ack[0].age = pair[i].ack[1].age;
           pair[i].ack[0].is_protected = pair[i].ack[1].is_protected;
           clear_ack(1);
           pair[i].acks--
       }

    /* Alone: outputs leave, and then the pair takes a generation of its own. */
    :: d_step { P == kOpen && HAS_OUTPUT -> release(host) }
    :: d_step {
           P == kOpen ->
           assert(file[OWN_GENERATION(i)] == NOBODY);
           file[OWN_GENERATION(i)] = host;
           P = kGated
       }
    /* Not before the Secondary holds the marks of all that left until then. */
    :: d_step {
           P == kGated && !pair[i].may_be_succeeded && pair[i].messages < 2 && HOLDS_WHAT_LEFT ->
           pair[i].may_be_succeeded = true;
           send(pair[i].acked, true, false)
       }

    /* In a pair. */
    :: d_step {
           P == kGated && HAS_OUTPUT && pair[i].lease > 0 &&
           MARK_OF(pair[i].left + 2) <= pair[i].acked ->
           release(host)
       }
    :: d_step {
           P == kGated && MAY_HAND_OVER && pair[i].messages < 2 ->
           send(pair[i].made, false, true);
           close_primary();
           P = kHandedOver
       }
    :: d_step {
           P == kGated ->
           close_primary();
           if
           :: pair[i].may_be_succeeded -> P = kContests
           :: else -> P = kSolo
           fi
       }

    /* Who goes on? */
    STEPS_OF_ELECTION(P, host, PRIMARYS_BID(i))
    :: d_step {
           P == kWon ->
           win(host, PRIMARYS_BID(i));
           assert(acting == host);
           P = kSolo
       }
#ifdef BUG_GATE_BEFORE_ELECTION
    :: d_step { P == kContests && HAS_OUTPUT -> release(host) }
#endif
    :: d_step { P == kSolo && HAS_OUTPUT -> release(host) }

    :: d_step {
           (IS_UP || P == kContests || P == kReads) && !pair[i].has_crashed ->
           pair[i].has_crashed = true;
           close_primary();
           P = kCrashed
       }
    od
}

proctype Secondary(byte i) {
    byte host = pair[i].secondary_host;

end:
    do
    :: d_step {
           S == kFollows && pair[i].messages > 0 && pair[i].acks < 2 ->
           if
           :: pair[i].message[0].upto > pair[i].held -> pair[i].held = pair[i].message[0].upto
           :: else
           fi;
           pair[i].may_succeed = pair[i].may_succeed || pair[i].message[0].protects;
           if
           :: pair[i].message[0].goodbye ->
              /* Nothing leaves there any more, so no promise has to end. */
              close_secondary();
              pair[i].promise = 0;
              S = kContests
           :: else ->
              pair[i].promise = DEAD_AFTER;
              if
              :: IS_UP ->
                 pair[i].ack[pair[i].acks].upto = pair[i].held;
                 pair[i].ack[pair[i].acks].age = pair[i].message[0].age;
                 pair[i].ack[pair[i].acks].is_protected = pair[i].may_succeed;
                 pair[i].acks++
              :: else /* Nobody reads it. */
              fi;
              pair[i].message[0].upto = pair[i].message[1].upto;
              pair[i].message[0].age = pair[i].message[1].age;
              pair[i].message[0].protects = pair[i].message[1].protects;
              pair[i].message[0].goodbye = pair[i].message[1].goodbye;
              clear_message(i, 1);
              pair[i].messages--
           fi
       }
    :: d_step {
           S == kFollows ->
           close_secondary();
           if
           :: pair[i].may_succeed -> S = kWaits
           :: else -> S = kOut
           fi
       }
    :: d_step {
           S == kWaits && HAS_NO_PROMISE ->
           pair[i].promise = 0;
           S = kContests
       }

    STEPS_OF_ELECTION(S, host, NEXT_GENERATION(i))
    /* (3) What left is known here. */
    :: d_step {
           S == kWon ->
           win(host, NEXT_GENERATION(i));
           assert(pair[i].left <= pair[i].held);
           acting = host;
           S = kSolo
       }

    :: d_step {
           (S == kFollows || S == kWaits || S == kContests || S == kReads) && !pair[i].has_crashed ->
           pair[i].has_crashed = true;
           close_secondary();
           pair[i].promise = 0;
           S = kCrashed
       }
    od
}

inline older(what) {
    if
    :: what < LEASE -> what++
    :: else
    fi
}

inline tick_primary() {
    if
    :: pair[i].lease > 0 -> pair[i].lease--
    :: else
    fi;
    if
    :: pair[i].messages > 0 -> older(pair[i].message[0].age)
    :: else
    fi;
    if
    :: pair[i].messages > 1 -> older(pair[i].message[1].age)
    :: else
    fi;
    if
    :: pair[i].acks > 0 -> older(pair[i].ack[0].age)
    :: else
    fi;
    if
    :: pair[i].acks > 1 -> older(pair[i].ack[1].age)
    :: else
    fi
}

#define RUNS_DOWN                                                       \
    (pair[i].lease > 0 || pair[i].promise > 0 ||                        \
     (pair[i].messages > 0 && pair[i].message[0].age < LEASE) ||        \
     (pair[i].messages > 1 && pair[i].message[1].age < LEASE) ||        \
     (pair[i].acks > 0 && pair[i].ack[0].age < LEASE) ||                \
     (pair[i].acks > 1 && pair[i].ack[1].age < LEASE))

/* The clocks of a pair's hosts, for as long as that matters. */
proctype Clocks(byte i) {
end:
    do
    :: d_step {
           RUNS_DOWN ->
           tick_primary();
           if
           :: pair[i].promise > 0 -> pair[i].promise--
           :: else
           fi
       }
    :: d_step { RUNS_DOWN && pair[i].is_ahead -> tick_primary(); pair[i].is_ahead = false }
    :: d_step { !pair[i].is_ahead && pair[i].promise > 0 -> pair[i].promise--; pair[i].is_ahead = true }
    od
}

/* (4) Where nothing can happen any more the VM lives, or a crash has taken it along: of its owner, or of
 * the only one of the two that could go on. */
#define LIVES (P == kSolo || S == kSolo)
#define PRIMARY_TOOK_IT (S == kOut || file[NEXT_GENERATION(i)] == pair[i].primary_host)
#define SECONDARY_TOOK_IT (P == kHandedOver || file[NEXT_GENERATION(i)] == pair[i].secondary_host)
#define DIED ((P == kCrashed && PRIMARY_TOOK_IT) || (S == kCrashed && SECONDARY_TOOK_IT))

proctype Judge() {
    byte i;

    timeout;
    d_step {
        if
        :: PAIRS == 2 && pair[PAIRS - 1].primary != kNone -> i = PAIRS - 1
        :: else -> i = 0
        fi;
        assert(LIVES || DIED)
    }
}

init {
    byte i;

    d_step {
        pair[0].primary = kGated;
        pair[0].secondary = kFollows;
        pair[0].primary_host = A;
        pair[0].secondary_host = B;
        pair[0].may_be_succeeded = true;
        pair[0].is_protected = true;
        pair[0].may_succeed = true;
        file[OWN_GENERATION(0)] = A;
        winner[OWN_GENERATION(0)] = A
    }
    atomic {
        do
        :: i < PAIRS ->
           if
           :: i == 1 -> pair[i].secondary_host = C
           :: else
           fi;
           run Primary(i);
           run Secondary(i);
           run Clocks(i);
           i++
        :: else -> break
        od;
        run Judge()
    }
}
