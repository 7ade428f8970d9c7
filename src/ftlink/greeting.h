// The first words on a connection, until both hosts have agreed to be a pair. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ftlink/frame.h"
#include "ftlink/handshake.h"

namespace ftvmm::ftlink {

// Who accepted speaks first: whoever connects says nothing before it was let in. One thread.
//
//   accepts   -> hello                            kAwaitsHello
//   connects  <- hello: -> hello, welcome         kAwaitsWelcome
//   accepts   <- hello                            kAwaitsWelcome
//   accepts   <- welcome: -> welcome              kAgreed
//   connects  <- welcome                          kAgreed
//
// Either says a refusal in place of its next word, and then it is over, as it is with any other
// word.
class Greeting {
  public:
    enum class Side : std::uint8_t { kAccepts, kConnects };

    // `certified_host` is the name in the peer's certificate. An error: `mine` keeps to no limit.
    static Result<Greeting> create(const Hello& mine, Side side, std::string certified_host);

    // What the other host said. An error: it is over, and tells why; what take_frames() gives still
    // has to go out.
    [[nodiscard]] Result<void> step(const Frame& frame);
    // What this host says next; once at the beginning, and behind each step().
    [[nodiscard]] std::vector<OutgoingFrame> take_frames() { return std::exchange(out_, {}); }

    // Both have agreed: what comes next is no part of this.
    [[nodiscard]] bool is_agreed() const { return state_ == State::kAgreed; }
    // Who is at the other end, once agreed.
    [[nodiscard]] const Hello& peer() const { return peer_; }

  private:
    enum class State : std::uint8_t { kAwaitsHello, kAwaitsWelcome, kAgreed, kOver };

    Greeting(Hello mine, std::vector<std::byte> encoded, Side side, std::string certified_host);
    [[nodiscard]] Result<void> take(const Frame& frame);
    [[nodiscard]] Result<void> take_hello(const Frame& frame);
    void say(FrameKind kind, std::vector<std::byte> payload = {});

    Hello mine_;
    std::vector<std::byte> encoded_;
    Side side_;
    std::string certified_host_;
    State state_ = State::kAwaitsHello;
    Hello peer_;
    std::vector<OutgoingFrame> out_;
};

}  // namespace ftvmm::ftlink
