#include "pair/clone_target.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/overloaded.h"
#include "vmm/machine/machine_state.h"

namespace ftvmm::pair {

Result<CloneTarget> CloneTarget::create(const machine::MachineConfig& config,
                                        std::string identity) {
    FTVMM_ASSIGN(auto memory, GuestMemory::create(config.memory_bytes));
    return CloneTarget(config, std::move(identity), std::move(memory));
}

Result<void> CloneTarget::step(const ftlink::Frame& frame) {
    if (ends_) return fail("the clone goes on behind its end");
    if (frame.kind == ftlink::FrameKind::kCloneControl) return step_control(frame.payload);
    if (!has_begun_) return fail("the clone does not begin with its beginning");
    if (frame.kind == ftlink::FrameKind::kClonePages) return step_pages(frame.payload);
    if (frame.kind != ftlink::FrameKind::kCloneState) {
        return fail(fmt::format("a {} has no place in a clone", name_of(frame.kind)));
    }
    if (frame.payload.size() > machine::kMaxMessageBytes + machine::kMaxBulkBytes - state_.size()) {
        return fail("the clone's state is larger than any");
    }
    state_.insert(state_.end(), frame.payload.begin(), frame.payload.end());
    return {};
}

Result<void> CloneTarget::step_control(std::span<const std::byte> payload) {
    FTVMM_ASSIGN(const auto message, decode_clone_message(payload));
    if (!has_begun_ && !std::holds_alternative<clone_message::Begins>(message)) {
        return fail("the clone does not begin with its beginning");
    }
    return std::visit(
        Overloaded{
            [this](const clone_message::Begins& begins) -> Result<void> {
                const std::uint64_t pages = memory_->size() / kPageBytes;
                if (has_begun_) return fail("the clone begins twice");
                if (begins.pages != pages) {
                    return fail(
                        fmt::format("the guest has {} pages of memory on the Primary and {} here",
                                    begins.pages, pages),
                        "use the same configuration on both hosts");
                }
                has_begun_ = true;
                return {};
            },
            [this](const clone_message::Round& round) -> Result<void> {
                round_ = round;
                return {};
            },
            [this](const clone_message::Ends& ends) -> Result<void> {
                const bool fits = ends.pages == pages_ &&
                                  ends.state_bytes <= machine::kMaxMessageBytes &&
                                  ends.bulk_bytes <= machine::kMaxBulkBytes &&
                                  ends.state_bytes + ends.bulk_bytes == state_.size();
                if (!fits) return fail("the clone is not whole at its end");
                ends_ = ends;
                return {};
            },
            [](const clone_message::Protected&) -> Result<void> {
                return fail("the pair is protected before its clone stands");
            },
            [](const auto&) -> Result<void> {
                return fail("the Primary sends what only a Secondary says");
            },
        },
        message);
}

Result<void> CloneTarget::step_pages(std::span<const std::byte> payload) {
    FTVMM_ASSIGN(const auto pages, decode_pages(payload, memory_->size() / kPageBytes));
    FTVMM_TRY(codec_.unpack(pages.header, pages.data, memory_->bytes()));
    pages_ += pages.header.count();
    return {};
}

Result<CloneTarget::Made> CloneTarget::make(const kvm::System& system) {
    FTVMM_CHECK(ends_ && memory_, "a clone is made once, of all of it");
    const std::span<const std::byte> all(state_);
    const auto message = all.first(ends_->state_bytes);
    FTVMM_ASSIGN(const auto state,
                 machine::decode_state(
                     // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as text.
                     {reinterpret_cast<const char*>(message.data()), message.size()},
                     all.subspan(message.size())));
    FTVMM_TRY(machine::check_same_machine(state, config_, identity_));
    FTVMM_ASSIGN(auto machine, machine::KvmMachine::restore(system, config_, state.machine,
                                                            *std::exchange(memory_, std::nullopt)));
    machine->interrupt_at_landmarks_only();
    return Made{std::move(machine), ends_->first};
}

}  // namespace ftvmm::pair
