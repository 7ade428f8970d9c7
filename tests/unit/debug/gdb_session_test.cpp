#include "debug/gdb_session.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "base/random.h"

namespace ftvmm::debug {
namespace {

constexpr std::uint64_t kCode = 0x1000;
constexpr std::uint64_t kData = 0x2000;
constexpr std::uint64_t kLast = 100;

// A program of a hundred one-byte instructions, of which number n sets the byte at kData to n / 10.
class ToyTarget final : public Target {
  public:
    Result<Registers> registers() override {
        Registers registers;
        registers.general.front() = 0x1122334455667788;
        registers.rip = kCode + at;
        registers.gs_base = 0xffff888000000000;
        return registers;
    }
    std::size_t read_memory(std::uint64_t address, std::span<std::byte> bytes) override {
        if (address < kData || address >= kData + 16) return 0;
        const std::size_t count = std::min<std::size_t>(bytes.size(), kData + 16 - address);
        std::ranges::fill(bytes.first(count), std::byte(at / 10));
        return count;
    }
    Result<Stopped> move(Move move) override {
        const bool is_back = move == Move::kReverseStep || move == Move::kReverseContinue;
        const bool is_step = move == Move::kStep || move == Move::kReverseStep;
        while (true) {
            if (at == (is_back ? 0 : kLast)) {
                if (is_back) return stopped::AtBegin{};
                return stopped::AtEnd{};
            }
            const std::uint64_t before = at;
            at = is_back ? at - 1 : at + 1;
            if (!watches.empty() && before / 10 != at / 10)
                return stopped::Watched{watches.front().address};
            if (std::ranges::find(breakpoints, kCode + at) != breakpoints.end())
                return stopped::Breakpoint{};
            if (is_step) return stopped::Stepped{};
        }
    }
    void add_breakpoint(std::uint64_t address) override { breakpoints.push_back(address); }
    void remove_breakpoint(std::uint64_t address) override { std::erase(breakpoints, address); }
    void add_watch(const Watch& watch) override { watches.push_back(watch); }
    void remove_watch(const Watch& watch) override { std::erase(watches, watch); }

    std::uint64_t at = 0;
    std::vector<std::uint64_t> breakpoints;
    std::vector<Watch> watches;
};

struct Session {
    ToyTarget target;
    GdbSession gdb{target};

    std::string receive(std::string_view bytes) {
        return gdb.receive(std::as_bytes(std::span(bytes))).value();
    }
    // The reply to a command, without its frame.
    std::string ask(std::string_view command) {
        const std::string reply = receive(framed(command));
        PacketReader reader;
        for (const char byte : reply) {
            if (const auto received = reader.take(static_cast<std::byte>(byte)))
                return std::get<received::Packet>(*received).payload;
        }
        return "(no reply)";
    }
    [[nodiscard]] std::string error_of_change(std::string_view command) {
        const std::string reply = ask(command);
        return reply.starts_with("E") ? "refused" : reply;
    }
};

}  // namespace

TEST_CASE("A command is acknowledged and answered, and after QStartNoAckMode answered alone") {
    Session session;
    CHECK(session.receive("$?#3f") == "+$S05#b8");
    CHECK(session.receive("+$?#3e") == "-");
    CHECK(session.receive("-") == "$S05#b8");
    CHECK(session.ask("QStartNoAckMode") == "OK");
    CHECK(session.receive("$?#3f") == "$S05#b8");
    CHECK(session.receive("$?#3e").empty());
    CHECK(session.receive("-").empty());
}

TEST_CASE("GDB is told that the target goes backwards, and nothing of what is unknown") {
    Session session;
    const std::string offer = session.ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386");
    for (const char* word : {"ReverseStep+", "ReverseContinue+", "PacketSize=4000", "swbreak+",
                             "qXfer:features:read+", "QStartNoAckMode+"}) {
        CAPTURE(word);
        CHECK(offer.find(word) != std::string::npos);
    }
    for (const char* command : {"vMustReplyEmpty", "vCont?", "qSymbol::", "!", "", "R00", "b"})
        CHECK(session.ask(command).empty());
    CHECK(session.ask("qAttached") == "1");
    CHECK(session.ask("qC") == "QC1");
    CHECK(session.ask("qfThreadInfo") == "m1");
    CHECK(session.ask("qsThreadInfo") == "l");
    CHECK(session.ask("Hg0") == "OK");
    CHECK(session.ask("T1") == "OK");
}

TEST_CASE("The description is read piece by piece and covers each byte of the registers") {
    Session session;
    constexpr std::size_t kPart = 1000;
    std::string whole;
    std::string part;
    do {
        part = session.ask(
            fmt::format("qXfer:features:read:target.xml:{:x},{:x}", whole.size(), kPart));
        REQUIRE_FALSE(part.empty());
        CHECK(part.size() <= kPart + 1);
        whole += part.substr(1);
    } while (part.front() == 'm');
    CHECK(whole == target_description());
    CHECK(session.ask("qXfer:features:read:target.xml:fffff,10").front() == 'E');
    CHECK(session.ask("qXfer:features:read:target.xml:10").front() == 'E');
    CHECK(session.ask("qXfer:features:read:other.xml:0,10").empty());

    const auto bytes = bytes_of(Registers{});
    std::size_t covered = 0;
    std::uint64_t count = 0;
    for (auto place = place_of_register(0); place; place = place_of_register(++count)) {
        CHECK(place->offset == covered);
        covered += place->bytes;
    }
    CHECK(covered == bytes.size());
    CHECK(count == 16 + 8 + 8 + 8 + 16 + 1 + 2);
}

TEST_CASE("Registers come in GDB's order, in memory's byte order, all or one") {
    Session session;
    const std::string all = session.ask("g");
    CHECK(all.substr(0, 16) == "8877665544332211");
    CHECK(all.substr(256, 16) == "0010000000000000");
    CHECK(session.ask("p0") == "8877665544332211");
    CHECK(session.ask("p10") == "0010000000000000");
    CHECK(session.ask("p3a") == "000000008088ffff");
    CHECK(session.ask("p3b").front() == 'E');
    CHECK(session.ask("p").front() == 'E');
    CHECK(session.ask("p0x").front() == 'E');
}

TEST_CASE("Memory comes as far as it is there") {
    Session session;
    session.target.at = 30;
    CHECK(session.ask("m2000,4") == "03030303");
    CHECK(session.ask("m200e,8") == "0303");
    CHECK(session.ask("m3000,4").front() == 'E');
    CHECK(session.ask("m2000,0").empty());
    for (const char* command : {"m", "m2000", "m2000,", "m,4", "m2000,4,", "m2000,4x",
                                "m11111111111111111,4", "m2000,-4"}) {
        CAPTURE(command);
        CHECK(session.ask(command).front() == 'E');
    }
    CHECK(session.ask("m2000,ffffffffffffffff") == std::string("03030303030303030303030303030303"));
}

TEST_CASE("What would change the guest is refused") {
    Session session;
    for (const char* command : {"G00", "P0=00", "M2000,1:00", "X2000,1:a", "c1000", "s1000"}) {
        CAPTURE(command);
        CHECK(session.error_of_change(command) == "refused");
    }
    CHECK(session.target.at == 0);
}

TEST_CASE("It steps, goes on to a breakpoint, and the same way back") {
    Session session;
    (void)session.ask("qSupported:swbreak+");
    CHECK(session.ask("s") == "T05thread:1;");
    CHECK(session.target.at == 1);
    CHECK(session.ask("Z0,1032,1") == "OK");
    CHECK(session.ask("c") == "T05swbreak:;thread:1;");
    CHECK(session.target.at == 50);
    CHECK(session.ask("?") == "T05swbreak:;thread:1;");
    CHECK(session.ask("c") == "T05replaylog:end;thread:1;");
    CHECK(session.ask("bs") == "T05thread:1;");
    CHECK(session.target.at == 99);
    CHECK(session.ask("bc") == "T05swbreak:;thread:1;");
    CHECK(session.target.at == 50);
    CHECK(session.ask("z0,1032,1") == "OK");
    CHECK(session.ask("bc") == "T05replaylog:begin;thread:1;");
    CHECK(session.target.at == 0);
}

TEST_CASE("A debugger that does not know the word is told of a breakpoint without it") {
    Session session;
    (void)session.ask("qSupported:multiprocess+");
    (void)session.ask("Z0,1032,1");
    CHECK(session.ask("c") == "T05thread:1;");
}

TEST_CASE("A watched stretch stops it, named by its address") {
    Session session;
    CHECK(session.ask("Z2,2000,8") == "OK");
    CHECK(session.target.watches == std::vector{Watch{0x2000, 8}});
    CHECK(session.ask("c") == "T05watch:2000;thread:1;");
    CHECK(session.target.at == 10);
    CHECK(session.ask("z2,2000,8") == "OK");
    CHECK(session.target.watches.empty());
    CHECK(session.ask("Z2,2000,0").front() == 'E');
    CHECK(session.ask("Z2,2000,1001").front() == 'E');
}

TEST_CASE("Breakpoints of kinds that there are none of are answered as unknown") {
    Session session;
    for (const char* command : {"Z1,1000,1", "Z3,2000,8", "Z4,2000,8", "Z9,0,0"}) {
        CAPTURE(command);
        CHECK(session.ask(command).empty());
    }
    for (const char* command : {"Z", "Z0", "Z0,", "Z0,1000", "Z0,1000,", "Zx,1000,1"}) {
        CAPTURE(command);
        CHECK(session.ask(command).front() == 'E');
    }
    CHECK(session.target.breakpoints.empty());
}

TEST_CASE("A breakpoint that is there is not added twice, and there is an end to them") {
    Session session;
    for (int i = 0; i < 2; ++i)
        CHECK(session.ask("Z0,1032,1") == "OK");
    CHECK(session.target.breakpoints.size() == 1);
    for (int i = 0; i < 2; ++i)
        CHECK(session.ask("z0,1032,1") == "OK");
    CHECK(session.target.breakpoints.empty());
    for (std::size_t i = 0; i < kMostBreakpoints; ++i)
        CHECK(session.ask(fmt::format("Z0,{:x},1", i)) == "OK");
    CHECK(session.ask("Z0,5000,1").front() == 'E');
    CHECK(session.target.breakpoints.size() == kMostBreakpoints);
}

TEST_CASE("A detach is answered and a kill is not, and nothing is done after either") {
    Session detached;
    CHECK(detached.ask("D") == "OK");
    CHECK(detached.gdb.is_over());
    CHECK(detached.receive(framed("s")).empty());
    Session killed;
    CHECK(killed.receive(framed("k") + framed("s")) == "+");
    CHECK(killed.gdb.is_over());
    CHECK(killed.target.at == 0);
}

TEST_CASE("Whatever bytes come, whole commands or not, a session goes on") {
    SeededEntropy random(1);
    constexpr std::string_view kLetters = "?gpmscbZzqHTGPMXRv0123456789abcdef,;:-=}*";
    for (int i = 0; i < 20'000; ++i) {
        Session session;
        for (int packet = 0; packet < 4; ++packet) {
            std::string command;
            for (auto length = random.below(12); length > 0; --length)
                command += kLetters[random.below(kLetters.size())];
            (void)session.receive(random.below(4) == 0 ? command : framed(command));
        }
        CHECK(session.target.breakpoints.size() <= 4);
        if (!session.gdb.is_over()) CHECK(session.ask("qC") == "QC1");
    }
}

}  // namespace ftvmm::debug
