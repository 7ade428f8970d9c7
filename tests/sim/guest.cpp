#include "guest.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace ftvmm::sim {

using namespace replay;

Guest::Guest(const Plan& plan, Judge& judge) : plan_(plan), judge_(judge), random_(plan.seed ^ 1U) {
    power_on({});
}

void Guest::power_on(Instant host) {
    std::array<std::byte, 16> rng_seed{};
    random_.fill(rng_seed);
    answers_.clear();
    host_ = powered_on_at_ = host;
    ++lives_;
    at_landmark_ = true;
    is_halted_ = false;
    machine_ = std::make_unique<replay::testing::ToyMachine>(rng_seed, plan_.toy);
    last_input_ = recorder_.power_on(*machine_, rng_seed);
    flush_.recorded(host_);
    judge_.primary_at(lives_, machine_->landmark(), machine_->digest());
}

void Guest::end(record::EndKind kind, Instant now) {
    take_outputs(now);
    (void)recorder_.end(*machine_, kind);
    exits_ += machine_->landmark().exits;
    has_ended_ = !is_reset(kind);
    if (!has_ended_) power_on(host_);
}

void Guest::stop(Instant now) {
    if (!has_ended_) end(record::EndKind::kStopped, now);
}

void Guest::give(const Input& input) {
    last_input_ = recorder_.record(*machine_, input);
    flush_.recorded(host_);
    machine_->apply(input);
}

void Guest::give_time() {
    const auto since = host_ - powered_on_at_;
    give(input::Time{std::max(GuestTime(since), machine_->now())});
}

std::vector<std::byte> Guest::some_bytes(std::uint64_t most) {
    std::vector<std::byte> bytes(random_.below(most));
    random_.fill(bytes);
    return bytes;
}

void Guest::give_answer() {
    if (answers_.empty()) return;
    const auto at = answers_.begin() + static_cast<std::ptrdiff_t>(random_.below(answers_.size()));
    if (const auto* disk = std::get_if<output::DiskRequest>(&*at)) {
        const bool is_read = disk->operation == output::DiskOperation::kRead;
        const auto data = is_read ? some_bytes(disk->length + 1) : std::vector<std::byte>();
        give(input::DiskCompletion{disk->disk, disk->id, random_.below(9) != 0, data});
    } else if (const auto* entropy = std::get_if<output::EntropyRequest>(&*at)) {
        std::vector<std::byte> bytes(entropy->length);
        random_.fill(bytes);
        give(input::Entropy{entropy->id, bytes});
    }
    answers_.erase(at);
}

void Guest::give_anything() {
    switch (random_.below(4)) {
        case 0: {
            const auto nic = static_cast<std::uint32_t>(random_.below(2));
            if (machine_->wants_packets(nic)) give(input::Packet{nic, some_bytes(300)});
            return;
        }
        case 1: {
            const auto port = static_cast<ConsolePort>(random_.below(2));
            if (machine_->wants_console_bytes(port)) give(input::ConsoleBytes{some_bytes(5), port});
            return;
        }
        case 2:
            return give_answer();
        default:
            return give_time();
    }
}

void Guest::take_outputs(Instant now) {
    for (Output& output : machine_->take_outputs()) {
        const Seq mark = recorder_.output_mark(*machine_);
        judge_.made(mark, replay::testing::hash_of(output), now);
        if (plan_.bug == Bug::kNoFlush) {
            flush_.recorded(host_);
        } else {
            flush_.marked_output(host_);
        }
        Made& made = made_.emplace_back();
        made.mark = plan_.bug == Bug::kMarkOfInput ? last_input_ : mark;
        made.output = std::move(output);
    }
}

std::vector<Guest::Made> Guest::step(Instant now, Instant host) {
    FTVMM_CHECK(!has_ended_, "a guest that has ended does not run");
    host_ = host;
    if (std::exchange(is_halted_, false)) {
        if (answers_.empty()) {
            give(input::PowerButton{});
        } else {
            give_answer();
        }
    }
    if (at_landmark_ && machine_->shows_time()) give_time();
    if (random_.below(16) == 0) machine_->kick_after(random_.below(300));
    const auto stop = machine_->run();
    FTVMM_CHECK(stop, "a toy runs");
    handle(*stop, now);
    take_outputs(now);
    if (!has_ended_ && exits_ + machine_->landmark().exits >= plan_.most_exits) this->stop(now);
    if (at_landmark_ && flush_.is_due(host_)) {
        if (!has_ended_) recorder_.flush(*machine_);
        flush_.flushed();
    }
    return std::exchange(made_, {});
}

void Guest::handle(const Stop& stop, Instant now) {
    if (std::holds_alternative<stop::Kicked>(stop)) return handle_kick();
    at_landmark_ = true;
    judge_.primary_at(lives_, machine_->landmark(), machine_->digest());
    take_outputs(now);
    if (std::holds_alternative<stop::PoweredOff>(stop)) {
        return end(record::EndKind::kPoweredOff, now);
    }
    if (const auto* reset = std::get_if<stop::Reset>(&stop)) {
        return end(reset->triple_fault ? record::EndKind::kTripleFault : record::EndKind::kReset,
                   now);
    }
    if (std::holds_alternative<stop::NeedsTime>(stop)) give_time();
    if (std::holds_alternative<stop::Halted>(stop)) {
        is_halted_ = true;
        flush_.halted();
        return;
    }
    while (random_.below(4) == 0)
        give_anything();
}

void Guest::handle_kick() {
    machine_->clear_kick();
    // Without a checkpoint nothing can be given here.
    at_landmark_ = random_.below(2) == 0;
    if (!at_landmark_) return;
    const auto made = recorder_.checkpoint(*machine_);
    FTVMM_CHECK(made, "a toy makes checkpoints");
    flush_.recorded(host_);
    judge_.primary_at(lives_, machine_->landmark(), machine_->digest());
    give_anything();
}

}  // namespace ftvmm::sim
