// Where a cluster's authority and its hosts' certificates lie, as files.
//
//   DIR/ca.crt  DIR/ca.key               the authority: it stays where it was made
//   DIR/hosts/NAME/ca.crt host.crt host.key   for the host NAME, and for it alone
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "pki/certificate.h"

namespace ftvmm::pki {

inline constexpr const char* kAuthorityFile = "ca.crt";
inline constexpr const char* kAuthorityKeyFile = "ca.key";
inline constexpr const char* kHostsFolder = "hosts";
inline constexpr const char* kHostFile = "host.crt";
inline constexpr const char* kHostKeyFile = "host.key";

// What is there is replaced only with kAllowed, and at once.
enum class Replace : bool { kForbidden, kAllowed };

// Makes `folder` with a new authority in it. Returns where one that was there before lies now, or
// an empty text: it is kept, for hosts that know it still.
Result<std::string> init_folder(const std::string& folder, const std::string& cluster,
                                Validity validity, Replace replace);
// Makes the folder of `host` with a new key in it, and returns its path. An older key is gone.
Result<std::string> issue_in_folder(const std::string& folder, const std::string& host,
                                    Validity validity, Replace replace);

// What a host shows to others, and how it knows them: PEM texts.
struct HostIdentity {
    std::string authority;
    Credential host;
};

// From a host's folder. An error: a file is missing, the key is open to everyone, or they do not
// belong together. Whether they are valid at this time is not looked at.
Result<HostIdentity> load_host_folder(const std::string& folder);
// The text of a certificate's or key's file.
Result<std::string> read_pem_file(const std::string& path);

}  // namespace ftvmm::pki
