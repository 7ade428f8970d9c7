#include "ftlink/greeting.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace ftvmm::ftlink {

Result<Greeting> Greeting::create(const Hello& mine, Side side, std::string certified_host) {
    FTVMM_ASSIGN(auto encoded, encode_hello(mine));
    return Greeting(mine, std::move(encoded), side, std::move(certified_host));
}

Greeting::Greeting(Hello mine, std::vector<std::byte> encoded, Side side,
                   std::string certified_host)
    : mine_(std::move(mine)),
      encoded_(std::move(encoded)),
      side_(side),
      certified_host_(std::move(certified_host)) {
    if (side_ == Side::kAccepts) say(FrameKind::kHello, std::exchange(encoded_, {}));
}

Result<void> Greeting::step(const Frame& frame) {
    FTVMM_CHECK(!is_agreed(), "what comes behind the greeting is no part of it");
    if (state_ == State::kOver) return fail("the greeting is over");
    auto taken = take(frame);
    if (!taken) state_ = State::kOver;
    return taken;
}

Result<void> Greeting::take(const Frame& frame) {
    if (frame.kind == FrameKind::kRefusal) {
        FTVMM_ASSIGN(const Refusal refusal, decode_refusal(frame.payload));
        return Failure(error_of_other(refusal));
    }
    if (frame.kind == FrameKind::kHello && state_ == State::kAwaitsHello) return take_hello(frame);
    if (frame.kind == FrameKind::kWelcome && state_ == State::kAwaitsWelcome) {
        if (!frame.payload.empty()) return fail("its welcome is none that ftvmm sends");
        if (side_ == Side::kAccepts) say(FrameKind::kWelcome);
        state_ = State::kAgreed;
        return {};
    }
    return fail(fmt::format("it says a {} where a {} is due", name_of(frame.kind),
                            state_ == State::kAwaitsHello ? "hello" : "welcome"));
}

Result<void> Greeting::take_hello(const Frame& frame) {
    FTVMM_ASSIGN(peer_, decode_hello(frame.payload));
    if (const auto refusal = compare(mine_, peer_, certified_host_)) {
        say(FrameKind::kRefusal, encode_refusal(*refusal));
        return Failure(error_of_own(*refusal));
    }
    if (side_ == Side::kConnects) {
        say(FrameKind::kHello, std::exchange(encoded_, {}));
        say(FrameKind::kWelcome);
    }
    state_ = State::kAwaitsWelcome;
    return {};
}

void Greeting::say(FrameKind kind, std::vector<std::byte> payload) {
    out_.push_back(make_frame(kind, std::move(payload)));
}

}  // namespace ftvmm::ftlink
