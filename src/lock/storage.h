// What the election and the leases ask of shared storage, and what it answers, as values.
#pragma once

#include <string>
#include <variant>

#include "base/vm_identity.h"

namespace ftvmm::lock {

// All names are of files in the one folder of the VM. Who runs them owes: what is read is what the
// storage holds now, and not a copy from before the request; after Done the storage has it, also if
// it loses its power.
namespace request {

// Writes a file whole under a name that is this run's own. One that is there is replaced, never
// changed: it may have a second name by now.
struct WriteOwn {
    std::string name;
    std::string content;
};
// link(2): a second name for a file, if nobody has that name.
struct Link {
    std::string from;
    std::string to;
};
struct Read {
    std::string name;
};
// The highest number of any gen-<n>; 0 if there is none.
struct FindNewest {};
// The OFD lock on owner.lock, for as long as this run lives. No waiting.
struct TakeLock {};
// Writes the owner's record over the one before, which is this run's own: who reads meanwhile sees
// one of them, or something that is damaged.
struct WriteRecord {
    std::string name;
    std::string content;
};

}  // namespace request

using Request = std::variant<request::WriteOwn, request::Link, request::Read, request::FindNewest,
                             request::TakeLock, request::WriteRecord>;

namespace reply {

struct Done {};
// Of Link: somebody has that name, and it may be this run itself. Of TakeLock: it is taken.
struct Taken {};
// Of Read: there is no such file.
struct Missing {};
struct Content {
    std::string text;
};
struct Newest {
    Generation generation;
};
// An I/O error or no answer in time: it may have been done, or be done later, or never.
struct Unknown {
    std::string why;
};

}  // namespace reply

using Reply = std::variant<reply::Done, reply::Taken, reply::Missing, reply::Content, reply::Newest,
                           reply::Unknown>;

}  // namespace ftvmm::lock
