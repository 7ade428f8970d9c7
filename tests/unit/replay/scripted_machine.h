// A guest that does what a test says, stop by stop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "replay/guest_machine.h"
#include "replay/record.h"

namespace ftvmm::replay::testing {

// Its digest is `exits` times kDigestStep, plus what a test adds.
class ScriptedMachine final : public GuestMachine {
  public:
    static constexpr std::uint64_t kDigestStep = 0x0001'0001'0001'0001;

    struct Next {
        Result<Stop> stop = stop::Exit{};
        std::uint64_t exits = 1;  // How far it goes.
        std::size_t outputs = 0;  // What it puts out there.
    };

    [[nodiscard]] Result<Stop> run() override {
        ++runs;
        Next next;
        if (!script.empty()) {
            next = std::move(script.front());
            script.pop_front();
        }
        at.exits += next.exits;
        put_out(next.outputs);
        return next.stop;
    }
    void put_out(std::size_t count) {
        for (; count > 0; --count)
            outputs_.emplace_back(output::EntropyRequest{});
    }
    [[nodiscard]] Landmark landmark() const override { return at; }
    void apply(const Input& input) override { applied.push_back({at, 0, body_of(input)}); }
    [[nodiscard]] std::vector<Output> take_outputs() override {
        return std::exchange(outputs_, {});
    }
    [[nodiscard]] std::uint64_t digest() const override { return at.exits * kDigestStep + odd; }
    [[nodiscard]] std::uint64_t memory_hash() const override { return 0x3333; }
    [[nodiscard]] Result<std::vector<std::byte>> take_checkpoint() override {
        at.checkpoints += 1;
        return state;
    }
    [[nodiscard]] Result<void> load_checkpoint(std::span<const std::byte> loaded) override {
        if (loaded.empty()) return fail("it is no state");
        at.checkpoints += loaded.size();
        return {};
    }
    [[nodiscard]] std::optional<GuestTime> next_deadline() const override { return {}; }
    [[nodiscard]] bool shows_time() const override { return false; }
    [[nodiscard]] bool wants_packets(std::uint32_t) const override { return true; }
    [[nodiscard]] bool wants_console_bytes(ConsolePort) const override { return true; }
    [[nodiscard]] std::optional<ExitFacts> last_exit() const override { return exit; }
    void kick() override {}
    void clear_kick() override {}

    std::deque<Next> script;  // Behind its end: an Exit each.
    Landmark at;
    std::uint64_t odd = 0;  // How far its digest is off.
    Result<std::vector<std::byte>> state = std::vector<std::byte>(1);
    std::optional<ExitFacts> exit;
    std::vector<Record> applied;  // With the landmark; without a digest.
    int runs = 0;

  private:
    std::vector<Output> outputs_;
};

// A record for that machine, as it is without being off.
inline Record scripted(Landmark at, Body body) {
    return {at, short_digest(at.exits * ScriptedMachine::kDigestStep), std::move(body)};
}
inline Record mark_at(std::uint64_t exits) {
    return scripted({exits, 0}, record::Mark{exits * ScriptedMachine::kDigestStep});
}
inline Record end_at(std::uint64_t exits, record::EndKind kind) {
    return scripted({exits, 0}, record::End{kind, exits * ScriptedMachine::kDigestStep});
}

}  // namespace ftvmm::replay::testing
