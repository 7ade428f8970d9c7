#include "node/replay_run.h"

#include <utility>

#include "node/replay_cursor.h"

namespace ftvmm::node {

Result<ReplayEnd> run_replay(replay::LogReader& log, const MakeMachine& make,
                             const ReplayRun& options) {
    FTVMM_ASSIGN(auto timer, DeadlineTimer::create());
    ReplayCursor cursor(log, make, options, std::move(timer));
    while (!cursor.end())
        FTVMM_TRY(cursor.advance());
    return cursor.take_end();
}

}  // namespace ftvmm::node
