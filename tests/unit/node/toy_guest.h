// A guest made of two functions, for tests of what surrounds a machine.
#pragma once

#include <poll.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "replay/guest_machine.h"

namespace ftvmm::node {

// Keeps the port's rules as KVM's machine does: kick() ends a run under way and all later ones.
class ToyGuest final : public replay::GuestMachine {
  public:
    using Run = std::function<replay::Stop(ToyGuest&)>;
    using OnInput = std::function<void(ToyGuest&, const replay::Input&)>;

    ToyGuest(Run run, OnInput on_input) : run_(std::move(run)), on_input_(std::move(on_input)) {}

    [[nodiscard]] Result<replay::Stop> run() override {
        if (kicked_) return replay::stop::Kicked{};
        ++landmark_.exits;
        return run_(*this);
    }
    // For Run: computes without an exit until it is kicked.
    [[nodiscard]] replay::Stop compute() const {
        // A signal ends poll() as it ends KVM_RUN; one just before it costs a millisecond.
        while (!kicked_)
            (void)::poll(nullptr, 0, 1);
        return replay::stop::Kicked{};
    }
    [[nodiscard]] replay::Landmark landmark() const override { return landmark_; }
    void apply(const replay::Input& input) override {
        if (const auto* time = std::get_if<replay::input::Time>(&input)) {
            if (deadline && *deadline <= time->now) deadline.reset();
        }
        on_input_(*this, input);
    }
    [[nodiscard]] std::vector<replay::Output> take_outputs() override {
        return std::exchange(outputs, {});
    }
    [[nodiscard]] std::uint64_t digest() const override { return 0; }
    [[nodiscard]] std::uint64_t memory_hash() const override { return 0; }
    [[nodiscard]] Result<std::vector<std::byte>> take_checkpoint() override {
        return fail("a toy guest has no state");
    }
    [[nodiscard]] Result<void> load_checkpoint(std::span<const std::byte>) override {
        return fail("a toy guest has no state");
    }
    [[nodiscard]] std::optional<GuestTime> next_deadline() const override { return deadline; }
    [[nodiscard]] bool wants_packets(std::uint32_t) const override { return wants_input; }
    [[nodiscard]] bool shows_time() const override { return false; }
    [[nodiscard]] bool wants_console_bytes(replay::ConsolePort) const override {
        return wants_input;
    }
    void kick() override {
        kicked_ = true;
        ++kicks;
    }
    void clear_kick() override { kicked_ = false; }

    std::vector<replay::Output> outputs;
    std::optional<GuestTime> deadline;
    bool wants_input = true;
    std::atomic<int> kicks{0};

  private:
    Run run_;
    OnInput on_input_;
    replay::Landmark landmark_;
    std::atomic<bool> kicked_{false};
};

}  // namespace ftvmm::node
