// One debugger's session: GDB's commands in, a target moved, replies out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "debug/packet.h"
#include "debug/target.h"

namespace ftvmm::debug {

// The stub's side of GDB's remote protocol, with reverse execution, for a target of one thread. It
// trusts nothing that it receives. What would change the guest is refused: a replay can not be
// changed. Pure but for what the target does.
class GdbSession {
  public:
    // `target` outlives it.
    explicit GdbSession(Target& target) : target_(target) {}

    // What to send back. The target moves within the call; an interrupt that comes meanwhile is the
    // caller's to pass to the target. An error: the target's.
    [[nodiscard]] Result<std::string> receive(std::span<const std::byte> bytes);
    // The debugger has taken its leave: nothing more is to be received.
    [[nodiscard]] bool is_over() const { return is_over_; }

  private:
    // The command and what follows it.
    using Text = std::string_view;

    [[nodiscard]] Result<std::string> take(const Received& received);
    [[nodiscard]] std::string send(std::string_view payload);
    [[nodiscard]] Result<std::string> answer(Text packet);
    [[nodiscard]] std::string answer_query(Text query);
    [[nodiscard]] std::string support(Text offered);
    [[nodiscard]] static std::string read_description(Text range);
    [[nodiscard]] Result<std::string> read_registers();
    [[nodiscard]] Result<std::string> read_register(Text number);
    [[nodiscard]] std::string read_memory(Text range);
    [[nodiscard]] Result<std::string> move(Move move, Text rest);
    [[nodiscard]] std::string stop_reply(const Stopped& stopped) const;
    [[nodiscard]] std::string change_breakpoint(Text what, bool adds);
    [[nodiscard]] std::string change_watch(const Watch& watch, bool adds);

    Target& target_;
    PacketReader reader_;
    bool acknowledges_ = true;
    bool tells_swbreak_ = false;  // The debugger knows the word.
    bool is_over_ = false;
    std::string last_sent_;
    std::string last_stop_ = "S05";
    std::vector<std::uint64_t> breakpoints_;
    std::vector<Watch> watches_;
};

}  // namespace ftvmm::debug
