#include "pair/clone_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "node/suspend.h"
#include "pair/clone_pace.h"
#include "vmm/machine/machine_state.h"

namespace ftvmm::pair {

namespace {

using machine::kChunkBytes;
using machine::kChunkPages;
using machine::KvmMachine;
using machine::PageSet;

KvmMachine& machine_of(replay::GuestMachine& guest) {
    return dynamic_cast<KvmMachine&>(guest);
}

class Clone {
  public:
    Clone(node::VcpuControl& control, const CloneSource& source)
        : control_(control), source_(source) {}

    Result<CloneProgress> run() {
        FTVMM_TRY(on_vcpu([this](KvmMachine& machine) -> Result<void> {
            memory_ = machine.memory().bytes();
            return machine.begin_copy();
        }));
        auto done = send_all();
        control_.set_duty_percent(100);
        if (!done) {
            // Not where the VM has ended. One that leads is recorded: it is for whoever has it
            // recorded to end both.
            if (!leads_) (void)on_vcpu([](KvmMachine& machine) { return machine.run_alone(); });
            return Failure(done.error());
        }
        return progress_;
    }

  private:
    // What the vCPU thread says about it, or that the VM has ended.
    Result<void> on_vcpu(const std::function<Result<void>(KvmMachine&)>& call) {
        Result<void> said;
        FTVMM_TRY(control_.call([&](replay::GuestMachine& guest) {
            said = source_.is_cancelled() ? fail("the guest's life has ended")
                                          : call(machine_of(guest));
        }));
        return said;
    }

    Result<void> send_all() {
        const std::uint64_t pages = memory_.size() / kPageBytes;
        FTVMM_TRY(source_.send(make_frame(CloneMessage(clone_message::Begins{pages}))));
        FTVMM_TRY(begin_round(pages));
        for (std::uint64_t first = 0; first < pages; first += kChunkPages)
            FTVMM_TRY(send(codec_.pack(memory_, first), std::min(kChunkPages, pages - first)));
        ClonePace pace;
        while (true) {
            std::optional<PageSet> written;
            const auto taken = on_vcpu([&](KvmMachine& machine) -> Result<void> {
                FTVMM_ASSIGN(written, machine.take_written_pages());
                return {};
            });
            if (!taken) return Failure(taken.error());
            const std::uint64_t count = written->count();
            const ClonePace::Next next = pace.next(count);
            if (next == ClonePace::Next::kPause) return send_rest(std::move(*written));
            if (next == ClonePace::Next::kGiveUp) return give_up(count);
            progress_.duty_percent = pace.duty_percent();
            control_.set_duty_percent(progress_.duty_percent);
            FTVMM_TRY(begin_round(count));
            FTVMM_TRY(send(*written));
        }
    }

    [[nodiscard]] Failure give_up(std::uint64_t left) const {
        return fail(
            fmt::format("the guest writes to its memory faster than the link carries it: {} pages "
                        "are left after {} rounds, with the guest slowed down to {} %",
                        left, progress_.round, progress_.duty_percent),
            "clone it when it does less, or over a faster network");
    }

    Result<void> begin_round(std::uint64_t pages) {
        progress_.round_pages = pages;
        progress_.round_done = 0;
        ++progress_.round;
        return source_.send(make_frame(CloneMessage(clone_message::Round{progress_.round, pages})));
    }

    Result<void> send(const PageSet& pages) {
        for (std::uint64_t first = 0; first < pages.pages(); first += kChunkPages) {
            const auto words = pages.words().subspan(first / 64);
            constexpr std::size_t kWords = kChunkPages / 64;
            const auto some = words.first(std::min(kWords, words.size()));
            if (std::ranges::all_of(some, [](std::uint64_t word) { return word == 0; })) continue;
            FTVMM_TRY(send(codec_.pack(memory_, first, pages), 0));
        }
        return {};
    }

    // Of a round that goes over all memory, so much of it is done.
    Result<void> send(Result<machine::ChunkCodec::Chunk> chunk, std::uint64_t looked_at) {
        if (!chunk) return Failure(chunk.error());
        const std::size_t count = chunk->header.count();
        progress_.round_done += looked_at > 0 ? looked_at : count;
        if (source_.is_cancelled()) return fail("the guest's life has ended");
        if (count == 0) return {};
        auto frame = make_frame(*chunk);
        progress_.pages += count;
        progress_.bytes += frame.size();
        FTVMM_TRY(source_.send(std::move(frame)));
        if (source_.progress) source_.progress(progress_);
        return {};
    }

    Result<void> send_rest(PageSet left) {
        // Most of it now: what is written once more meanwhile is what the pause is for.
        FTVMM_TRY(begin_round(left.count()));
        FTVMM_TRY(send(left));
        machine::EncodedState state;
        std::vector<std::byte> copies;
        left.clear();
        const auto stood = on_vcpu([&](KvmMachine& machine) -> Result<void> {
            const Instant begun = clock_.now();
            FTVMM_TRY(node::complete(machine));
            source_.release_outputs(machine);
            FTVMM_ASSIGN(auto machine_state, machine.state());
            FTVMM_ASSIGN(state, machine::encode_state({machine.config(), source_.identity,
                                                       std::move(machine_state)}));
            FTVMM_ASSIGN(const PageSet written, machine.take_written_pages());
            left.add(written);
            copy(left, copies);
            FTVMM_ASSIGN(progress_.first, source_.lead(machine));
            leads_ = true;
            progress_.pause = clock_.now() - begun;
            return {};
        });
        if (!stood) return Failure(stood.error());
        // Nothing that it writes from here on is the clone's.
        control_.set_duty_percent(100);
        FTVMM_TRY(send_copies(left, copies));
        return send_end(state);
    }

    void copy(const PageSet& pages, std::vector<std::byte>& copies) const {
        copies.resize(pages.count() * kPageBytes);
        std::size_t at = 0;
        for (std::uint64_t page = 0; page < pages.pages(); ++page) {
            if (!pages.has(page)) continue;
            const auto bytes = memory_.subspan(page * kPageBytes, kPageBytes);
            std::ranges::copy(bytes, copies.begin() + static_cast<std::ptrdiff_t>(at));
            at += kPageBytes;
        }
    }

    Result<void> send_copies(const PageSet& pages, std::span<const std::byte> copies) {
        FTVMM_TRY(begin_round(pages.count()));
        // Back to where they lie, in a memory that has room for one chunk.
        std::vector<std::byte> chunk(kChunkBytes);
        PageSet in_chunk(kChunkPages);
        std::size_t at = 0;
        for (std::uint64_t first = 0; first < pages.pages(); first += kChunkPages) {
            in_chunk.clear();
            const std::uint64_t end = std::min(first + kChunkPages, pages.pages());
            for (std::uint64_t page = first; page < end; ++page) {
                if (!pages.has(page)) continue;
                in_chunk.add(page - first);
                const auto from = copies.subspan(at, kPageBytes);
                std::ranges::copy(
                    from, chunk.begin() + static_cast<std::ptrdiff_t>((page - first) * kPageBytes));
                at += kPageBytes;
            }
            if (in_chunk.count() == 0) continue;
            FTVMM_ASSIGN(auto packed, codec_.pack(chunk, 0, in_chunk));
            packed.header.first_page = first;
            FTVMM_TRY(send(packed, 0));
        }
        return {};
    }

    Result<void> send_end(const machine::EncodedState& state) {
        const auto message = std::as_bytes(std::span(state.message));
        for (auto rest : {message, std::span<const std::byte>(state.bulk)}) {
            while (!rest.empty()) {
                const auto piece = rest.first(std::min(rest.size(), kMostStatePiece));
                rest = rest.subspan(piece.size());
                FTVMM_TRY(source_.send(make_state_frame(piece)));
            }
        }
        return source_.send(make_frame(CloneMessage(clone_message::Ends{
            state.message.size(), state.bulk.size(), progress_.pages, progress_.first})));
    }

    node::VcpuControl& control_;
    const CloneSource& source_;
    SystemClock clock_;
    machine::ChunkCodec codec_;
    std::span<const std::byte> memory_;
    CloneProgress progress_;
    bool leads_ = false;
};

}  // namespace

Result<CloneProgress> clone(node::VcpuControl& control, const CloneSource& source) {
    return Clone(control, source).run();
}

}  // namespace ftvmm::pair
