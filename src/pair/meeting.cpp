#include "pair/meeting.h"

#include <chrono>
#include <future>
#include <memory>
#include <utility>

namespace ftvmm::pair {

Result<ftlink::Greeted> meet(IoLoop& loop, const ftlink::LinkOptions& options,
                             const std::atomic<bool>& stops) {
    using Met = tl::expected<ftlink::Greeted, ftlink::LinkLost>;
    // Kept by the driver's callback, which may come after this function has given up.
    const auto met = std::make_shared<std::promise<Result<ftlink::Greeted>>>();
    auto answer = met->get_future();
    std::shared_ptr<ftlink::MeetingDriver> driver;
    Result<void> started;
    loop.run([&] {
        auto made = ftlink::MeetingDriver::start(loop.io(), options, [met](Met result) {
            if (result) {
                met->set_value(std::move(*result));
            } else {
                met->set_value(Failure(std::move(result.error().why)));
            }
        });
        if (!made) {
            started = Failure(made.error());
            return;
        }
        driver = std::move(*made);
    });
    if (!started) return Failure(started.error());
    constexpr std::chrono::milliseconds kLookEvery{50};
    while (answer.wait_for(kLookEvery) != std::future_status::ready) {
        if (!stops) continue;
        loop.run([&] { driver->close(); });
        return fail("nobody waits for the other host any more");
    }
    loop.run([&] { driver.reset(); });
    return answer.get();
}

}  // namespace ftvmm::pair
