#include "debug/gdb_session.h"

#include <fmt/format.h>

#include <array>

#include "base/overloaded.h"
#include "debug/hex.h"

namespace ftvmm::debug {

namespace {

constexpr std::string_view kOk = "OK";
// What is not understood.
constexpr std::string_view kUnknown;
constexpr std::string_view kMalformed = "E01";
constexpr std::string_view kNoMemory = "E0e";
constexpr std::string_view kTooMany = "E1c";
constexpr std::string_view kRefused = "E.a replay can not be changed";

// Two digits for each byte have to fit into a packet.
constexpr std::uint64_t kMostMemory = kMostPacketBytes / 2;

// "address,length", and nothing behind it.
struct Range {
    std::uint64_t first = 0;
    std::uint64_t length = 0;
};
std::optional<Range> read_range(std::string_view text) {
    const auto first = take_number(text);
    if (!first || !take(text, ",")) return std::nullopt;
    const auto length = take_number(text);
    if (!length || !text.empty()) return std::nullopt;
    return Range{*first, *length};
}

}  // namespace

Result<std::string> GdbSession::receive(std::span<const std::byte> bytes) {
    std::string replies;
    for (const std::byte byte : bytes) {
        if (is_over_) break;
        const auto received = reader_.take(byte);
        if (!received) continue;
        FTVMM_ASSIGN(const auto reply, take(*received));
        replies += reply;
    }
    return replies;
}

Result<std::string> GdbSession::take(const Received& received) {
    if (std::holds_alternative<received::Damaged>(received)) {
        return std::string(acknowledges_ ? "-" : "");
    }
    if (std::holds_alternative<received::Nak>(received)) {
        return acknowledges_ ? last_sent_ : std::string();
    }
    const auto* packet = std::get_if<received::Packet>(&received);
    // An interrupt while nothing moves.
    if (packet == nullptr) return std::string();
    std::string ack = acknowledges_ ? "+" : "";
    FTVMM_ASSIGN(const auto reply, answer(packet->payload));
    // Nobody waits for a reply to a kill.
    if (is_over_ && reply.empty()) return ack;
    return ack + send(reply);
}

std::string GdbSession::send(std::string_view payload) {
    last_sent_ = framed(payload);
    return last_sent_;
}

Result<std::string> GdbSession::answer(Text packet) {
    if (packet.empty()) return std::string(kUnknown);
    if (packet == "QStartNoAckMode") {
        acknowledges_ = false;
        return std::string(kOk);
    }
    if (packet == "bs") return move(Move::kReverseStep, {});
    if (packet == "bc") return move(Move::kReverseContinue, {});
    const Text rest = packet.substr(1);
    switch (packet.front()) {
        case '?':
            return last_stop_;
        case 'g':
            return read_registers();
        case 'p':
            return read_register(rest);
        case 'm':
            return read_memory(rest);
        case 's':
            return move(Move::kStep, rest);
        case 'c':
            return move(Move::kContinue, rest);
        case 'Z':
        case 'z':
            return change_breakpoint(rest, packet.front() == 'Z');
        case 'q':
            return answer_query(rest);
        case 'H':
        case 'T':
            return std::string(kOk);
        case 'G':
        case 'P':
        case 'M':
        case 'X':
            return std::string(kRefused);
        case 'D':
            is_over_ = true;
            return std::string(kOk);
        case 'k':
            is_over_ = true;
            return std::string();
        default:
            return std::string(kUnknown);
    }
}

std::string GdbSession::answer_query(Text query) {
    if (debug::take(query, "Supported")) return support(query);
    if (debug::take(query, "Xfer:features:read:target.xml:")) return read_description(query);
    if (query == "C") return "QC1";
    if (query == "fThreadInfo") return "m1";
    if (query == "sThreadInfo") return "l";
    if (query.starts_with("Attached")) return "1";
    return std::string(kUnknown);
}

std::string GdbSession::support(Text offered) {
    tells_swbreak_ = offered.find("swbreak+") != Text::npos;
    return fmt::format(
        "PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;ReverseStep+;ReverseContinue+"
        ";swbreak+",
        kMostPacketBytes);
}

std::string GdbSession::read_description(Text range) {
    const auto wanted = read_range(range);
    const Text all = target_description();
    if (!wanted || wanted->first > all.size()) return std::string(kMalformed);
    // Half, as each byte may have to be escaped.
    const Text part = all.substr(wanted->first, std::min(wanted->length, kMostMemory));
    const bool is_last = wanted->first + part.size() == all.size();
    std::string reply(is_last ? "l" : "m");
    reply += part;
    return reply;
}

Result<std::string> GdbSession::read_registers() {
    FTVMM_ASSIGN(const auto registers, target_.registers());
    return hex_of(bytes_of(registers));
}

Result<std::string> GdbSession::read_register(Text number) {
    const auto wanted = take_number(number);
    const auto place = wanted && number.empty() ? place_of_register(*wanted) : std::nullopt;
    if (!place) return std::string(kMalformed);
    FTVMM_ASSIGN(const auto registers, target_.registers());
    const auto bytes = bytes_of(registers);
    return hex_of(std::span(bytes).subspan(place->offset, place->bytes));
}

std::string GdbSession::read_memory(Text range) {
    const auto wanted = read_range(range);
    if (!wanted) return std::string(kMalformed);
    std::vector<std::byte> bytes(std::min(wanted->length, kMostMemory));
    bytes.resize(target_.read_memory(wanted->first, bytes));
    if (bytes.empty() && wanted->length != 0) return std::string(kNoMemory);
    return hex_of(bytes);
}

Result<std::string> GdbSession::move(Move move, Text rest) {
    // Another address to go on from would change the guest.
    if (!rest.empty()) return std::string(kRefused);
    FTVMM_ASSIGN(const auto stopped, target_.move(move));
    last_stop_ = stop_reply(stopped);
    return last_stop_;
}

std::string GdbSession::stop_reply(const Stopped& stopped) const {
    // 5 is SIGTRAP, 2 SIGINT.
    return std::visit(
        Overloaded{
            [](const stopped::Stepped&) -> std::string { return "T05thread:1;"; },
            [&](const stopped::Breakpoint&) -> std::string {
                return tells_swbreak_ ? "T05swbreak:;thread:1;" : "T05thread:1;";
            },
            [](const stopped::Watched& watched) {
                return fmt::format("T05watch:{:x};thread:1;", watched.address);
            },
            [](const stopped::Interrupted&) -> std::string { return "T02thread:1;"; },
            [](const stopped::AtBegin&) -> std::string { return "T05replaylog:begin;thread:1;"; },
            [](const stopped::AtEnd&) -> std::string { return "T05replaylog:end;thread:1;"; },
        },
        stopped);
}

// "type,address,kind", with conditions behind it that nobody told GDB it may send.
std::string GdbSession::change_breakpoint(Text what, bool adds) {
    constexpr std::uint64_t kSoftware = 0;
    constexpr std::uint64_t kWriteWatch = 2;
    const auto type = take_number(what);
    if (!type || !debug::take(what, ",")) return std::string(kMalformed);
    const auto range = read_range(what);
    if (!range) return std::string(kMalformed);
    if (type == kWriteWatch) return change_watch({range->first, range->length}, adds);
    // Who watches reads would have to see each access.
    if (type != kSoftware) return std::string(kUnknown);
    const auto found = std::ranges::find(breakpoints_, range->first);
    if (adds == (found != breakpoints_.end())) return std::string(kOk);
    if (!adds) {
        breakpoints_.erase(found);
        target_.remove_breakpoint(range->first);
        return std::string(kOk);
    }
    if (breakpoints_.size() == kMostBreakpoints) return std::string(kTooMany);
    breakpoints_.push_back(range->first);
    target_.add_breakpoint(range->first);
    return std::string(kOk);
}

std::string GdbSession::change_watch(const Watch& watch, bool adds) {
    if (watch.bytes == 0 || watch.bytes > kMostWatchedBytes) return std::string(kMalformed);
    const auto found = std::ranges::find(watches_, watch);
    if (adds == (found != watches_.end())) return std::string(kOk);
    if (!adds) {
        watches_.erase(found);
        target_.remove_watch(watch);
        return std::string(kOk);
    }
    if (watches_.size() == kMostBreakpoints) return std::string(kTooMany);
    watches_.push_back(watch);
    target_.add_watch(watch);
    return std::string(kOk);
}

}  // namespace ftvmm::debug
