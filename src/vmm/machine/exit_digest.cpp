#include "vmm/machine/exit_digest.h"

#include <xxhash.h>

#include <array>
#include <optional>
#include <span>
#include <utility>

#include "base/overloaded.h"

namespace ftvmm::machine {

namespace {

using namespace kvm::exit;

constexpr std::uint64_t kRf = 1U << 16U;

// What identifies an exit: its kind, where it went, how wide, and what it carried.
struct Facts {
    std::uint64_t where = 0;
    std::uint64_t how = 0;
    std::span<const std::byte> data;
};

Facts facts_of(const IoIn& in) {
    return {in.port, in.size | in.data.size() << 8U, {}};
}
Facts facts_of(const IoOut& out) {
    return {out.port, out.size, out.data};
}
Facts facts_of(const MmioRead& read) {
    return {read.address.value(), read.data.size(), {}};
}
Facts facts_of(const MmioWrite& write) {
    return {write.address.value(), 0, write.data};
}
Facts facts_of(const Rdmsr& read) {
    return {read.index, 0, {}};
}
Facts facts_of(const Wrmsr& write) {
    return {write.index, write.value, {}};
}
template <class Other>
Facts facts_of(const Other& /*exit*/) {
    return {};
}

std::uint64_t number_of(std::span<const std::byte> data) {
    return XXH3_64bits(data.data(), data.size());
}

// What an access was answered, if anything.
std::optional<std::uint64_t> answer_to(const IoIn& in) {
    return number_of(in.data);
}
std::optional<std::uint64_t> answer_to(const MmioRead& read) {
    return number_of(read.data);
}
std::optional<std::uint64_t> answer_to(const Rdmsr& read) {
    return *read.fault != 0 ? UINT64_MAX : *read.value;
}
std::optional<std::uint64_t> answer_to(const Wrmsr& write) {
    return *write.fault;
}
template <class Other>
std::optional<std::uint64_t> answer_to(const Other& /*exit*/) {
    return std::nullopt;
}

// An input but for its bytes, and these.
struct Given {
    std::uint64_t what = 0;
    std::uint64_t more = 0;
    std::span<const std::byte> bytes;
};

Given given_by(const replay::Input& input) {
    using namespace replay::input;
    const auto number = [](std::chrono::nanoseconds ns) {
        return static_cast<std::uint64_t>(ns.count());
    };
    return std::visit(Overloaded{
                          [&](const Time& time) {
                              return Given{number(time.now.time_since_epoch()), 0, {}};
                          },
                          [&](const WallClock& clock) {
                              return Given{number(clock.at.time_since_epoch()), 0, {}};
                          },
                          [](const ConsoleBytes& typed) {
                              return Given{static_cast<std::uint64_t>(typed.port), 0, typed.bytes};
                          },
                          [](const Packet& packet) {
                              return Given{packet.nic, 0, packet.frame};
                          },
                          [](const DiskCompletion& end) {
                              return Given{std::uint64_t{end.disk} << 1U | std::uint64_t{end.ok},
                                           end.id, end.data};
                          },
                          [](const Entropy& entropy) {
                              return Given{entropy.id, 0, entropy.bytes};
                          },
                          [](const PowerButton&) { return Given{}; },
                      },
                      input);
}

}  // namespace

void ExitDigest::add_input(const replay::Input& input) {
    const Given given = given_by(input);
    const std::array<std::uint64_t, 4> words{input.index(), given.what, given.more,
                                             given.bytes.size()};
    given_ = XXH3_64bits_withSeed(words.data(), sizeof words, given_);
    if (!given.bytes.empty()) {
        given_ = XXH3_64bits_withSeed(given.bytes.data(), given.bytes.size(), given_);
    }
}

void ExitDigest::add_answer(const kvm::Exit& exit) {
    const auto answer = std::visit([](const auto& it) { return answer_to(it); }, exit);
    if (answer) value_ = XXH3_64bits_withSeed(&*answer, sizeof *answer, value_);
}

void ExitDigest::add(const kvm::Exit& exit, const kvm_regs& regs) {
    const Facts facts = std::visit([](const auto& it) { return facts_of(it); }, exit);
    last_ = {exit.index(), facts.where, facts.how};
    const std::array<std::uint64_t, 22> words{exit.index(),
                                              facts.where,
                                              facts.how,
                                              regs.rax,
                                              regs.rbx,
                                              regs.rcx,
                                              regs.rdx,
                                              regs.rsi,
                                              regs.rdi,
                                              regs.rsp,
                                              regs.rbp,
                                              regs.r8,
                                              regs.r9,
                                              regs.r10,
                                              regs.r11,
                                              regs.r12,
                                              regs.r13,
                                              regs.r14,
                                              regs.r15,
                                              regs.rip,
                                              regs.rflags & ~kRf,
                                              std::exchange(given_, 0)};
    value_ = XXH3_64bits_withSeed(words.data(), sizeof words, value_);
    if (!facts.data.empty()) {
        value_ = XXH3_64bits_withSeed(facts.data.data(), facts.data.size(), value_);
    }
}

}  // namespace ftvmm::machine
