// The files of an authority and of its hosts, as they are made, kept and read.
#include "pki/pki_folder.h"

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "pki/certificate_facts.h"
#include "pki/new_folder.h"
#include "temp_folder.h"

using namespace ftvmm;
using namespace ftvmm::pki;
using namespace std::chrono_literals;
using ftvmm::testing::TempFolder;

namespace {

Validity valid() {
    return Validity::starting(std::chrono::sys_seconds(1'800'000'000s), kHostDays);
}

struct Made {
    TempFolder temp;
    std::string folder = temp.file("ca");
    Made() { REQUIRE(init_folder(folder, "one", valid(), Replace::kForbidden)); }

    [[nodiscard]] Result<std::string> issue(const std::string& host,
                                            Replace replace = Replace::kForbidden) const {
        return issue_in_folder(folder, host, valid(), replace);
    }
};

mode_t mode_of(const std::string& path) {
    struct stat facts {};
    REQUIRE(::stat(path.c_str(), &facts) == 0);
    return facts.st_mode & 07777U;
}

void overwrite(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
}

}  // namespace

TEST_CASE("A host's folder holds all that the host needs, and its owner alone can read the key") {
    const Made made;
    const std::string folder = made.issue("node1").value();
    const HostIdentity identity = load_host_folder(folder).value();
    CHECK(read_facts(identity.host.certificate)->hosts == std::vector<std::string>{"node1"});
    CHECK(is_signed_by(identity.host.certificate, identity.authority).value());
    CHECK(mode_of(folder + "/host.key") == 0600);
    CHECK(mode_of(made.folder + "/ca.key") == 0600);
    CHECK(mode_of(made.folder) == 0700);
    CHECK_FALSE(std::filesystem::exists(folder + "/ca.key"));
}

TEST_CASE("What is there stays as it is, unless it may be replaced") {
    const Made made;
    const std::string folder = made.issue("node1").value();
    const auto before = load_host_folder(folder)->host.key;
    const auto again = made.issue("node1");
    REQUIRE_FALSE(again);
    CHECK(again.error().line().find("--force") != std::string::npos);
    CHECK(load_host_folder(folder)->host.key == before);
    CHECK_FALSE(init_folder(made.folder, "one", valid(), Replace::kForbidden));
    CHECK(load_host_folder(folder)->host.key == before);

    REQUIRE(made.issue("node1", Replace::kAllowed));
    CHECK(load_host_folder(folder)->host.key != before);
    // No older key and nothing half made lies beside it.
    CHECK(std::distance(std::filesystem::directory_iterator(made.folder + "/hosts"), {}) == 1);
}

TEST_CASE("A replaced authority is kept, and its name says that it is old") {
    const Made made;
    const std::string before = read_pem_file(made.folder + "/ca.crt").value();
    const auto old = init_folder(made.folder, "one", valid(), Replace::kAllowed);
    REQUIRE(old);
    CHECK(old->find(".old-") != std::string::npos);
    CHECK(read_pem_file(*old + "/ca.crt").value() == before);
    CHECK(read_pem_file(made.folder + "/ca.crt").value() != before);
}

TEST_CASE("An empty folder is filled, a file in the way stays") {
    const TempFolder temp;
    std::filesystem::create_directory(temp.file("empty"));
    CHECK(init_folder(temp.file("empty") + "/", "one", valid(), Replace::kForbidden));
    overwrite(temp.file("file"), "x");
    CHECK_FALSE(init_folder(temp.file("file"), "one", valid(), Replace::kForbidden));
    CHECK(read_pem_file(temp.file("file")).value() == "x");
    CHECK_FALSE(init_folder(temp.file("no/such"), "one", valid(), Replace::kForbidden));
    CHECK(temp.files() == 2);
}

TEST_CASE("Of several that make the same at once one succeeds, and what it made is whole") {
    const Made made;
    std::atomic<int> succeeded{0};
    std::vector<std::thread> threads;
    threads.reserve(8);
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] { succeeded += made.issue("node1").has_value() ? 1 : 0; });
    for (std::thread& thread : threads)
        thread.join();
    CHECK(succeeded == 1);
    CHECK(load_host_folder(made.folder + "/hosts/node1").has_value());
    CHECK(std::distance(std::filesystem::directory_iterator(made.folder + "/hosts"), {}) == 1);
}

TEST_CASE("A folder that was not published leaves nothing") {
    const TempFolder temp;
    {
        auto folder = NewFolder::beside(temp.file("x")).value();
        REQUIRE(folder.write("key", "secret", 0600));
        CHECK(temp.files() == 1);
    }
    CHECK(temp.files() == 0);
}

TEST_CASE("A host's folder is refused where its parts do not belong together") {
    const Made made;
    const Made other;
    const std::string folder = made.issue("node1").value();
    const HostIdentity foreign = load_host_folder(other.issue("node1").value()).value();
    const auto refused = [&] {
        const auto loaded = load_host_folder(folder);
        REQUIRE_FALSE(loaded);
        return loaded.error().line();
    };
    SECTION("a key of another") {
        overwrite(folder + "/host.key", foreign.host.key);
        CHECK(refused().find("is not the key of host.crt") != std::string::npos);
    }
    SECTION("another authority") {
        overwrite(folder + "/ca.crt", foreign.authority);
        CHECK(refused().find("of another authority") != std::string::npos);
    }
    SECTION("a key that everyone reads") {
        std::filesystem::permissions(folder + "/host.key", std::filesystem::perms(0644));
        CHECK(refused().find("chmod 600") != std::string::npos);
    }
    SECTION("a file that is missing") {
        std::filesystem::remove(folder + "/ca.crt");
        CHECK(refused().find("No such file") != std::string::npos);
    }
    SECTION("a file without an end") {
        overwrite(folder + "/host.crt", std::string(100'000, 'x'));
        CHECK(refused().find("too large") != std::string::npos);
    }
}

TEST_CASE("Without an authority no host gets a certificate") {
    const TempFolder temp;
    const auto issued = issue_in_folder(temp.file("ca"), "a", valid(), Replace::kForbidden);
    REQUIRE_FALSE(issued);
    CHECK(issued.error().line().find("ftvmm pki init") != std::string::npos);
}
