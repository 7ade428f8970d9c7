#include "pair/secondary_status.h"

namespace ftvmm::pair {

const char* name_of(SecondaryStatus::Step step) {
    switch (step) {
        case SecondaryStatus::Step::kSeeks:
            return "needs a Primary";
        case SecondaryStatus::Step::kClones:
            return "clones";
        case SecondaryStatus::Step::kProtected:
            return "protected";
        case SecondaryStatus::Step::kContests:
            return "has lost its Primary, and asks the storage who goes on";
    }
    return "?";
}

}  // namespace ftvmm::pair
